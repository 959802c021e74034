"""What is wanted in staging, as an example: production's shape, in small, so that what works here works there."""

pgbouncer_settings = {"default_pool_size": 5, "reserve_pool_size": 2, "max_client_conn": 200}

pgbouncer_databases = {
    "tracksolid_db": {"host": "db1", "max_db_connections": 10},
    "tracksolid_db_session": {
        "host": "db1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 4,
    },
}

pgbouncer_allow_superusers = ["postgres"]
pgbouncer_manage_hba = True  # nobody else edits pg_hba.conf here

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
]
