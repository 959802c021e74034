"""Production, as an example: which host plays which part. What is wanted of them is in group_data/prod.py.

The file's name is the environment: inventories/prod.py reads group_data/prod.py. pyinfra takes every list here for a
group of hosts, so keep helpers in a module of their own. A host's name is how group_data and every message call it;
`ssh_hostname` is how it is reached, and any other ssh setting (ssh_user, ssh_key, ssh_port) may stand beside it. Your
~/.ssh/config is honoured.

    poolward run pgbouncer inventories/prod.py
"""

# One entry per PostgreSQL server, always the primary. The poolers connect to `postgresql_address` where that differs
# from the address you reach the host by, and to `postgresql_port` where that is not 5432. Every further server has an
# auth role of its own, "pgbouncer_auth_role": "pgbouncer_auth_db2", because one userlist.txt holds the secrets of all.
# Where there is no host to log in to, `postgresql_dsn` ("host=db1.internal user=monitor dbname=postgres", without a
# password) is enough for plan, verify and size; a deploy needs the host.
databases = [
    ("db1", {"ssh_hostname": "db1.internal", "postgresql_address": "10.0.0.11"}),
]

# A pooler's `address` is where its connections come from, for pg_hba.conf; left out, it is looked up on the host.
poolers = [
    ("pool1", {"ssh_hostname": "pool1.internal"}),
    ("pool2", {"ssh_hostname": "pool2.internal"}),
]

# Where the services run that move behind the pooler. Nothing is installed here. By its `address`, where its connections
# come from, the bill tells what is declared from what nobody declared; `ssh_hostname` is enough where it is one.
apps = [
    ("app1", {"ssh_hostname": "app1.internal", "address": "10.0.0.31"}),
    ("app2", {"ssh_hostname": "app2.internal", "address": "10.0.0.32"}),
]
