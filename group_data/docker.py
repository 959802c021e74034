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

services = [  # in the order they move: the heaviest first
    {
        "name": "webhook_receiver",
        "connections": 20,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "webhook_receiver",
        "pooler": "dock1",
        "env_file": "/srv/stack/webhook_receiver.env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8001/health",
    },
    {
        "name": "ingest_worker",
        "connections": 20,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "ingest_worker",
        "pooler": "dock1",
        "env_file": "/srv/stack/ingest_worker.env",
        "host_variable": "DB_HOST",
        "port_variable": "DB_PORT",
        "database_variable": "DB_NAME",
        "user_variable": "DB_USER",
        "password_variable": "DB_PASSWORD",
        "health": "http://127.0.0.1:8002/health",
    },
    {
        "name": "dashboard_api",
        "connections": 18,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "dashboard_api",
        "pooler": "dock1",
        "env_file": "/srv/stack/dashboard_api.env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8003/health",
    },
    {
        "name": "worker",
        "connections": 15,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "worker",
        "pooler": "dock1",
        "env_file": "/srv/stack/worker.env",
        "url_variables": ["DATABASE_DSN"],
        "health": "http://127.0.0.1:8004/health",
    },
    {
        "name": "cron",
        "connections": 6,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "cron",
        "pooler": "dock1",
        "host_variable": "PGHOST",
        "port_variable": "PGPORT",
        "database_variable": "PGDATABASE",
        "health": "http://127.0.0.1:8005/health",
    },
    {
        "name": "gateway",
        "connections": 16,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "gateway",
        "pooler": "dock1",
        "url_variables": ["JDBC_URL"],
        "health": "http://127.0.0.1:8006/health",
    },
    {
        "name": "grafana",
        "connections": 12,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "grafana",
        "pooler": "dock1",
        "host_variable": "DB_HOST",
        "port_variable": "DB_PORT",
        "database_variable": "DB_NAME",
        "user_variable": "DB_USER",
        "password_variable": "DB_PASSWORD",
        "health": "http://127.0.0.1:8007/health",
    },
    {
        "name": "scheduler",
        "connections": 6,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "scheduler",
        "pooler": "dock1",
        "pool": "session",
        "env_file": "/srv/stack/scheduler.env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8009/health",
    },
    {
        "name": "analytics_mcp",
        "connections": 4,
        "host": "dock1",
        "compose_file": "/srv/stack/compose.yml",
        "compose_service": "analytics_mcp",
        "url_variables": ["DATABASE_URL"],
        "direct": "session-level SET and options; a minor consumer",
    },
]
