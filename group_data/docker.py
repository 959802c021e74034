"""What is wanted on the lab's Docker host: PgBouncer as a container before timescale_db, on the network of both."""

# PostgreSQL runs in a container of the host, and goes by its name on the network.
postgresql_container = "timescale_db"
postgresql_address = "timescale_db"

pgbouncer_runtime = "docker"
pgbouncer_version = "1.24.1"
pgbouncer_network = "tracksolid_net"
pgbouncer_publish = ["6432:6432"]

pgbouncer_settings = {
    "pool_mode": "transaction",
    "default_pool_size": 20,
    "reserve_pool_size": 5,
    "max_client_conn": 2000,
}

pgbouncer_databases = {
    "tracksolid_db": {"host": "dock1", "max_db_connections": 25},
    "tracksolid_db_session": {
        "host": "dock1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 8,
    },
    "tracksolid-archive": {"host": "dock1", "pool_size": 5, "max_db_connections": 6},
}

pgbouncer_allow_superusers = ["postgres"]  # most services are this role today; a dedicated one is better
pgbouncer_manage_hba = True

services = [
    {
        "name": "analytics_mcp",
        "connections": 4,
        "host": "dock1",
        "direct": "session-level SET and options; a minor consumer",
    },
]
