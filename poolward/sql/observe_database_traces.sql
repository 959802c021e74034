-- What a removal has to know of one database; one JSON line. Variables: own_roles (JSON array of names).
WITH own AS (SELECT oid, rolname FROM pg_roles WHERE rolname IN (SELECT json_array_elements_text(:'own_roles'))),
    lookup AS (
        -- The name is a common one for what an auth_query calls; this is how Poolward's looks.
        SELECT oid FROM pg_proc WHERE oid = to_regprocedure('pgbouncer.user_lookup(text)')
        AND pg_get_function_result(oid) = 'TABLE(rolname text, rolpassword text)'),
    home AS (SELECT oid, nspacl FROM pg_namespace WHERE nspname = 'pgbouncer')
SELECT json_build_object(
    'lookup', EXISTS (SELECT FROM lookup),
    'schema', EXISTS (SELECT FROM lookup) OR EXISTS (
        SELECT FROM home CROSS JOIN LATERAL aclexplode(home.nspacl) acl JOIN own ON own.oid = acl.grantee),
    'dependencies', (
        SELECT coalesce(json_agg(d ORDER BY d.role, d.what), '[]') FROM (
            SELECT own.rolname AS role, s.deptype AS kind, pg_describe_object(s.classid, s.objid, s.objsubid) AS what
            FROM pg_shdepend s JOIN own ON own.oid = s.refobjid
            WHERE s.refclassid = 'pg_authid'::regclass
              AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND NOT (s.classid = 'pg_proc'::regclass AND s.objid IN (SELECT oid FROM lookup))
              AND NOT (s.classid = 'pg_namespace'::regclass AND s.objid IN (SELECT oid FROM home) AND s.deptype = 'a')
            UNION ALL
            SELECT '', 'n', pg_describe_object(d.classid, d.objid, d.objsubid)
            FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM lookup)
              AND d.deptype = 'n') d));
