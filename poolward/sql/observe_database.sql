-- What the pooler needs in one database; one JSON line. Variables: auth_role, own_roles (JSON array of names).
-- By name and not by to_regprocedure, which wants USAGE on the schema of whoever asks.
WITH lookup AS (
    SELECT p.* FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'pgbouncer' AND p.proname = 'user_lookup' AND p.proargtypes = ARRAY['text'::regtype::oid]::oidvector)
SELECT json_build_object(
    'schema_owner_superuser', (
        SELECT o.rolsuper FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner WHERE n.nspname = 'pgbouncer'),
    'schema_grantees', coalesce((
        SELECT json_agg(coalesce(g.rolname, 'PUBLIC') || '=' || acl.privilege_type ORDER BY 1)
        FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) acl LEFT JOIN pg_roles g ON g.oid = acl.grantee
        WHERE n.nspname = 'pgbouncer' AND acl.grantee <> n.nspowner), '[]'),
    'function', (
        SELECT json_build_object(
            'source', p.prosrc,
            'result', pg_get_function_result(p.oid),
            'language', l.lanname,
            'volatility', p.provolatile,
            'security_definer', p.prosecdef,
            'strict', p.proisstrict,
            'config', coalesce(to_json(p.proconfig), '[]'),
            'owner', o.rolname,
            'owner_superuser', o.rolsuper,
            'grantees', coalesce((
                SELECT json_agg(DISTINCT coalesce(g.rolname, 'PUBLIC'))
                FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
                LEFT JOIN pg_roles g ON g.oid = acl.grantee
                WHERE acl.grantee <> p.proowner), '[]'))
        FROM lookup p
        JOIN pg_language l ON l.oid = p.prolang
        JOIN pg_roles o ON o.oid = p.proowner),
    'connect', (
        SELECT json_object_agg(r.rolname, EXISTS (
            SELECT FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) acl
            WHERE d.datname = current_database() AND acl.grantee = r.oid AND acl.privilege_type = 'CONNECT'))
        FROM pg_roles r WHERE r.rolname IN (SELECT json_array_elements_text(:'own_roles'))),
    'may_connect', (
        SELECT json_object_agg(r.rolname, has_database_privilege(r.oid, current_database()::text, 'CONNECT'))
        FROM pg_roles r WHERE r.rolname IN (SELECT json_array_elements_text(:'own_roles'))),
    'other_rights', coalesce((
        SELECT json_agg(pg_describe_object(s.classid, s.objid, s.objsubid) ORDER BY 1)
        FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
        WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = :'auth_role'
          AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND NOT (s.deptype = 'a' AND (
              s.classid = 'pg_namespace'::regclass AND s.objid IN (SELECT oid FROM pg_namespace WHERE nspname = 'pgbouncer')
              OR s.classid = 'pg_proc'::regclass AND s.objid IN (SELECT oid FROM lookup)))), '[]'));
