-- Temporary tables of other sessions in this database; one JSON line. A table seen from here has outlived a transaction.
-- The schema pg_temp_N is that of backend N. Before PostgreSQL 16 the functions below count backends in another way, so
-- nothing says whose it is but the owner's role; later a schema left by a crash is told by the same (then pid is null).
SELECT coalesce(json_agg(json_build_object(
    'pid', pid, 'database', current_database(), 'role', owner, 'address', host(client_addr), 'port', client_port,
    'seconds', 0, 'what', 'temporary table', 'detail', '', 'source', 'pg_class', 'count', tables)), '[]')
FROM (
    SELECT substring(nspname FROM '[0-9]+$')::int AS backend, relowner, pg_get_userbyid(relowner) AS owner, count(*) AS tables
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relpersistence = 't' AND relkind IN ('r', 'p', 'v', 'm') AND nspname ~ '^pg_temp_[0-9]+$'
    GROUP BY 1, 2) AS temporary
LEFT JOIN (
    SELECT backend_id, pid, usesysid, client_addr, client_port
    FROM pg_stat_get_backend_idset() AS backend_id JOIN pg_stat_activity ON pid = pg_stat_get_backend_pid(backend_id)
    WHERE datname = current_database() AND backend_start < now()
      AND current_setting('server_version_num')::int >= 160000) AS session
ON backend_id = backend AND usesysid = relowner;
