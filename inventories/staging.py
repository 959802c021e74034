"""Staging, as an example: one of each. What is wanted of them is in group_data/staging.py; more is said in prod.py."""

databases = [("db1", {"ssh_hostname": "db1.staging.internal"})]
poolers = [("pool1", {"ssh_hostname": "pool1.staging.internal"})]
apps = [("app1", {"ssh_hostname": "app1.staging.internal"})]
