"""The lab's three entries, small enough for twenty poolers before one PostgreSQL of 100 connections."""

pgbouncer_settings = {"default_pool_size": 1, "reserve_pool_size": 0, "max_client_conn": 200}

pgbouncer_databases = {
    "tracksolid_db": {"host": "db1", "max_db_connections": 1},
    "tracksolid_db_session": {
        "host": "db1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 1,
    },
    "tracksolid-archive": {"host": "db1", "max_db_connections": 1},
}

pgbouncer_allow_superusers = ["postgres"]
pgbouncer_manage_hba = True
