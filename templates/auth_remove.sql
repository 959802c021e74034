-- Takes the lookup function, its schema and the rights on it out of one database, as a superuser, in one transaction.
-- What somebody else put into the schema stays, and the schema with it.
--
-- psql variables: own_roles (JSON array of names).

SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 'DROP FUNCTION pgbouncer.user_lookup(text)'
FROM pg_proc
WHERE oid = to_regprocedure('pgbouncer.user_lookup(text)')
  AND pg_get_function_result(oid) = 'TABLE(rolname text, rolpassword text)' \gexec

SELECT DISTINCT format('REVOKE ALL ON SCHEMA pgbouncer FROM %I', r.rolname)
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) acl JOIN pg_roles r ON r.oid = acl.grantee
WHERE n.nspname = 'pgbouncer' AND r.rolname IN (SELECT json_array_elements_text(:'own_roles')) \gexec

SELECT 'DROP SCHEMA pgbouncer'
FROM pg_namespace n
WHERE n.nspname = 'pgbouncer'
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid) \gexec
