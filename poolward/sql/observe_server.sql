-- What a deploy has to know of one server, as far as pg_monitor may read it; one JSON line.
-- Variables: own_roles (JSON array of names).
SELECT json_build_object(
    'read_as', quote_ident(current_user),
    'version', current_setting('server_version'),
    'version_num', current_setting('server_version_num')::int,
    'in_recovery', pg_is_in_recovery(),
    'max_connections', current_setting('max_connections')::int,
    'superuser_reserved_connections', current_setting('superuser_reserved_connections')::int,
    'reserved_connections', coalesce(current_setting('reserved_connections', true), '0')::int,
    'max_wal_senders', current_setting('max_wal_senders')::int,
    'ssl', current_setting('ssl')::boolean,
    'client_connection_check_interval', current_setting('client_connection_check_interval', true),
    'roles', (
        SELECT json_object_agg(a.rolname, json_build_object(
            'login', a.rolcanlogin,
            'superuser', a.rolsuper,
            'createrole', a.rolcreaterole,
            'createdb', a.rolcreatedb,
            'replication', a.rolreplication,
            'bypassrls', a.rolbypassrls,
            'connection_limit', a.rolconnlimit,
            'expires', a.rolvaliduntil IS NOT NULL AND a.rolvaliduntil <> 'infinity',
            'expired', coalesce(a.rolvaliduntil <= now(), false),
            'member_of', coalesce((
                SELECT json_agg(DISTINCT g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = a.oid), '[]'),
            'settings', coalesce((
                SELECT json_agg(c ORDER BY c) FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setrole = a.oid), '[]')))
        FROM pg_roles a
        WHERE a.rolcanlogin OR a.rolname IN (SELECT json_array_elements_text(:'own_roles'))),
    'databases', (SELECT json_object_agg(datname, datconnlimit ORDER BY datname) FROM pg_database WHERE datallowconn),
    'backends', (
        SELECT json_agg(b) FROM (
            SELECT coalesce(datname, '') AS database, coalesce(usename, '') AS role, application_name AS application,
                   coalesce(host(client_addr), 'local') AS address, count(*) AS count,
                   count(*) FILTER (WHERE state = 'active') AS active,
                   coalesce(bool_or(r.rolsuper), false) AS superuser
            FROM pg_stat_activity LEFT JOIN pg_roles r ON r.oid = usesysid
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
            GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC) b));
