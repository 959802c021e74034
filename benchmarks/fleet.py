"""The benchmark's hosts, as pyinfra sees them; their wishes are in benchmarks/group_data/fleet.py."""

from benchmarks.hosts import inventory

databases = inventory("databases")
poolers = inventory("poolers")
