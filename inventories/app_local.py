"""Production with a pooler on each application host instead of hosts of their own; compare it with prod.py.

A host that plays two parts stands in two groups under one name, and what is said of it in both is put together.
"""

databases = [
    ("db1", {"ssh_hostname": "db1.internal", "postgresql_address": "10.0.0.11"}),
]

poolers = [("app1", {}), ("app2", {})]

apps = [
    ("app1", {"ssh_hostname": "app1.internal"}),
    ("app2", {"ssh_hostname": "app2.internal"}),
]
