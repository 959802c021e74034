"""The test lab (`python -m lab up`): real hosts on this machine. Its wishes are in group_data/lab.py."""

from lab.inventory import lab_hosts

databases = lab_hosts("databases")
poolers = lab_hosts("poolers")
apps = lab_hosts("apps")
