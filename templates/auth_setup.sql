-- What the poolers look verifiers up with: one role, one schema, one function. Run behind probe_setup.sql in every
-- database that needs it, as a superuser, in one transaction; running it again changes nothing.
--
-- psql variables: auth_role, probe_role, lookup_source; auth_verifier only where the password has to change: a SCRAM
-- verifier, so that no password reaches the server's log; and more_rights only where the auth role was given any.

SET LOCAL search_path = pg_catalog, pg_temp;

-- What the poolers log in as to look up a client's verifier: it may log in and nothing else.
SELECT format('CREATE ROLE %I LOGIN', :'auth_role') WHERE to_regrole(quote_ident(:'auth_role')) IS NULL \gexec
ALTER ROLE :"auth_role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT -1 VALID UNTIL 'infinity';
ALTER ROLE :"auth_role" RESET ALL;

SELECT format('REVOKE %I FROM %I', g.rolname, m.rolname)
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE m.rolname = :'auth_role' \gexec

\if :{?more_rights}
-- It holds nothing else here. What it owns goes to the superuser, so that nothing is lost; CONNECT elsewhere it keeps.
SELECT coalesce(string_agg(format('GRANT CONNECT ON DATABASE %I TO %I;', d.datname, r.rolname), ' '), '') AS elsewhere
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) acl JOIN pg_roles r ON r.oid = acl.grantee
WHERE r.rolname = :'auth_role' AND acl.privilege_type = 'CONNECT' \gset
REASSIGN OWNED BY :"auth_role" TO CURRENT_USER;
DROP OWNED BY :"auth_role";
:elsewhere
\endif

\if :{?auth_verifier}
ALTER ROLE :"auth_role" PASSWORD :'auth_verifier';
\endif

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), r)
FROM unnest(ARRAY[:'auth_role', :'probe_role']) AS r \gexec

CREATE SCHEMA IF NOT EXISTS pgbouncer;
ALTER SCHEMA pgbouncer OWNER TO CURRENT_USER;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
REVOKE ALL ON SCHEMA pgbouncer FROM :"auth_role";
GRANT USAGE ON SCHEMA pgbouncer TO :"auth_role";

-- A function that returns something else cannot be replaced, only made anew.
SELECT format('DROP FUNCTION %s', p.oid::regprocedure)
FROM pg_proc p
WHERE p.oid = to_regprocedure('pgbouncer.user_lookup(text)')
  AND (pg_get_function_result(p.oid) <> 'TABLE(rolname text, rolpassword text)' OR p.prokind <> 'f') \gexec

-- It answers every name with one row: for whoever may not log in, with a name that no role has and a secret that no
-- password opens. PgBouncer must not have to interpret a missing row or a NULL.
SELECT format(
    'CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(text) RETURNS TABLE (rolname text, rolpassword text) '
    'LANGUAGE sql STABLE SECURITY DEFINER CALLED ON NULL INPUT SET search_path = pg_catalog, pg_temp AS %L',
    :'lookup_source') \gexec
ALTER FUNCTION pgbouncer.user_lookup(text) OWNER TO CURRENT_USER;

-- It hands out password verifiers, so nobody but the auth role may execute it.
SELECT DISTINCT format('REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM %s',
    CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(g.rolname) END)
FROM pg_proc p
CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
LEFT JOIN pg_roles g ON g.oid = acl.grantee
WHERE p.oid = 'pgbouncer.user_lookup(text)'::regprocedure AND acl.grantee <> p.proowner \gexec
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO :"auth_role";
