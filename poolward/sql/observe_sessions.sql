-- Every client session of a server and where it comes from; one JSON line. It leaves itself out.
SELECT json_build_object(
    'started', extract(epoch FROM pg_postmaster_start_time()),
    'max_connections', current_setting('max_connections')::int,
    'superuser_reserved_connections', current_setting('superuser_reserved_connections')::int,
    'reserved_connections', coalesce(current_setting('reserved_connections', true), '0')::int,
    'backends', coalesce((
        SELECT json_agg(json_build_object(
            'pid', pid, 'database', coalesce(datname, ''), 'role', coalesce(usename, ''),
            'application', application_name, 'address', host(client_addr), 'port', client_port,
            'state', coalesce(state, ''), 'superuser', coalesce(rolsuper, false),
            'idle', greatest(0, extract(epoch FROM clock_timestamp() - state_change)),
            'age', greatest(0, extract(epoch FROM clock_timestamp() - backend_start))) ORDER BY pid)
        FROM pg_stat_activity LEFT JOIN pg_roles ON pg_roles.oid = usesysid
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), '[]'));
