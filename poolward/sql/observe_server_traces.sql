-- What a removal has to know of one server; one JSON line. Variables: own_roles (JSON array of names).
WITH own AS (SELECT oid, rolname FROM pg_roles WHERE rolname IN (SELECT json_array_elements_text(:'own_roles')))
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM own),
    -- What only a superuser of this server can untie: rights on shared objects, and what lies in a database nobody enters.
    'dependencies', (
        SELECT coalesce(json_agg(json_build_object(
            'role', own.rolname, 'kind', s.deptype,
            'what', CASE WHEN s.dbid = 0 THEN pg_describe_object(s.classid, s.objid, s.objsubid)
                ELSE 'something in ' || d.datname || ', which takes no connections' END) ORDER BY own.rolname, s.objid), '[]')
        FROM pg_shdepend s JOIN own ON own.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = s.dbid
        WHERE s.refclassid = 'pg_authid'::regclass
          AND (s.dbid = 0 OR NOT d.datallowconn)
          -- CONNECT is Poolward's own grant.
          AND NOT (s.classid = 'pg_database'::regclass AND s.deptype = 'a' AND NOT EXISTS (
              SELECT FROM pg_database c CROSS JOIN LATERAL aclexplode(c.datacl) acl
              WHERE c.oid = s.objid AND (acl.grantor = own.oid OR acl.grantee = own.oid AND acl.privilege_type <> 'CONNECT')))));
