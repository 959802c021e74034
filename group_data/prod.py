"""What is wanted in production, as an example. Every knob and its default is described in group_data/all.py.

Names and units are PgBouncer's own. No secret belongs here: the pooler's own are made on db1, or come from a command.
"""

pgbouncer_settings = {
    "pool_mode": "transaction",
    "default_pool_size": 20,
    "reserve_pool_size": 5,
    "max_client_conn": 2000,
}

# `host` is a database host's name in the inventory; everything else is PgBouncer's. Pools are per user, and each of the
# two poolers has its own: 2 × (25 + 8) server connections, and 2 × 2 for looking up passwords, is the most db1 sees.
pgbouncer_databases = {
    "tracksolid_db": {"host": "db1", "max_db_connections": 25},
    # For services that hold on to a session (LISTEN, advisory locks, SET): one server connection per client.
    "tracksolid_db_session": {
        "host": "db1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 8,
    },
}

# Some services still log in as postgres and move as they are. A role of their own is better: take the name out then.
pgbouncer_allow_superusers = ["postgres"]

# The DBA edits pg_hba.conf. A deploy prints the lines that are missing, and stops; True has it write them.
pgbouncer_manage_hba = False

# Pin what apt installs; without it the deploy takes what apt offers, once, and holds it.
# pgbouncer_version = "1.24.1"

# Bring your own secrets, from a command that runs on your machine and prints one.
# pgbouncer_auth_secret_command = ["vault", "kv", "get", "-field=password", "kv/pgbouncer/auth"]
# pgbouncer_probe_secret_command = ["vault", "kv", "get", "-field=password", "kv/pgbouncer/probe"]

# The services in the order they move, the heaviest first. Role and database are read from their own settings.
services = [
    {
        "name": "webhook_receiver",
        "host": "app1",
        "unit": "webhook-receiver.service",
        "pooler": "pool1",
        "env_file": "/etc/webhook/env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8001/health",
    },
    {
        "name": "ingest_worker",
        "host": "app1",
        "unit": "ingest-worker.service",
        "pooler": "pool1",
        "env_file": "/etc/ingest/env",
        "host_variable": "DB_HOST",
        "port_variable": "DB_PORT",
        "database_variable": "DB_NAME",
        "user_variable": "DB_USER",
        "password_variable": "DB_PASSWORD",
    },
    {
        "name": "scheduler",
        "host": "app2",
        "unit": "scheduler.service",
        "pooler": "pool2",
        "pool": "session",  # the entry tracksolid_db_session
        "env_file": "/etc/scheduler/env",
        "url_variables": ["DATABASE_URL"],
    },
    {
        "name": "analytics_mcp",
        "host": "app2",
        "connections": 2,
        "unit": "analytics-mcp.service",
        "env_file": "/etc/analytics/env",
        "url_variables": ["DATABASE_URL"],
        "direct": "session-level SET and options; a minor consumer",  # stays as it is, and is on the bill
    },
]
