"""What the lab's operator wants: PgBouncer before db1, and its nine services behind PgBouncer one at a time."""

pgbouncer_settings = {
    "pool_mode": "transaction",
    "default_pool_size": 20,
    "reserve_pool_size": 5,
    "max_client_conn": 2000,
}

pgbouncer_databases = {
    "tracksolid_db": {"host": "db1", "max_db_connections": 25},
    "tracksolid_db_session": {
        "host": "db1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 8,
    },
    "tracksolid-archive": {"host": "db1", "pool_size": 5, "max_db_connections": 6},
}

pgbouncer_allow_superusers = ["postgres"]  # most services are this role today; a dedicated one is better
pgbouncer_manage_hba = True

services = [  # in the order they move: the heaviest first
    {
        "name": "webhook_receiver",
        "connections": 20,
        "host": "app1",
        "unit": "webhook-receiver.service",
        "pooler": "pool1",
        "env_file": "/etc/webhook_receiver/env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8001/health",
    },
    {
        "name": "ingest_worker",
        "connections": 20,
        "host": "app1",
        "unit": "ingest-worker.service",
        "pooler": "pool1",
        "env_file": "/etc/ingest_worker/env",
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
        "host": "app1",
        "unit": "dashboard-api.service",
        "pooler": "pool1",
        "env_file": "/etc/dashboard_api/env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8003/health",
    },
    {
        "name": "worker",
        "connections": 15,
        "host": "app1",
        "unit": "worker.service",
        "pooler": "pool1",
        "env_file": "/etc/worker/env",
        "url_variables": ["DATABASE_DSN"],
        "health": "http://127.0.0.1:8004/health",
    },
    {
        "name": "cron",
        "connections": 6,
        "host": "app2",
        "unit": "cron.service",
        "pooler": "pool2",
        "prepared_statements": "off",  # it uses none, and PgBouncer 1.18 could not keep them
        "env_file": "/etc/cron/env",
        "host_variable": "PGHOST",
        "port_variable": "PGPORT",
        "database_variable": "PGDATABASE",
        "health": "http://127.0.0.1:8005/health",
    },
    {
        "name": "gateway",
        "connections": 16,
        "host": "app2",
        "unit": "gateway.service",
        "pooler": "pool2",
        "prepared_statements": "off",
        "env_file": "/etc/gateway/env",
        "url_variables": ["JDBC_URL"],
        "health": "http://127.0.0.1:8006/health",
    },
    {
        "name": "grafana",
        "connections": 12,
        "host": "app2",
        "unit": "grafana.service",
        "pooler": "pool2",
        "prepared_statements": "off",
        "env_file": "/etc/grafana/env",
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
        "host": "app2",
        "unit": "scheduler.service",
        "pooler": "pool2",
        "pool": "session",  # it prepares statements, which PgBouncer 1.18 cannot carry across transactions
        "env_file": "/etc/scheduler/env",
        "url_variables": ["DATABASE_URL"],
        "health": "http://127.0.0.1:8009/health",
    },
    {
        "name": "analytics_mcp",
        "connections": 4,
        "host": "app2",
        "unit": "analytics-mcp.service",
        "env_file": "/etc/analytics_mcp/env",
        "url_variables": ["DATABASE_URL"],
        "direct": "session-level SET and options; a minor consumer",
    },
]
