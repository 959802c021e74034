-- Drops the pooler's own roles, as a superuser, in one transaction. Only CONNECT is taken from them: it fails where they
-- hold anything else.
--
-- psql variables: own_roles (JSON array of names).

SET LOCAL search_path = pg_catalog, pg_temp;

SELECT DISTINCT format('REVOKE CONNECT ON DATABASE %I FROM %I', d.datname, r.rolname)
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) acl JOIN pg_roles r ON r.oid = acl.grantee
WHERE r.rolname IN (SELECT json_array_elements_text(:'own_roles')) AND acl.privilege_type = 'CONNECT' \gexec

SELECT format('DROP ROLE %I', rolname)
FROM pg_roles
WHERE rolname IN (SELECT json_array_elements_text(:'own_roles')) \gexec
