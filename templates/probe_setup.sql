-- What proves that a login passes through the pooler, without any application's password: a role without rights. Run in
-- one transaction; running it again changes nothing. A role with CREATEROLE is enough; only a superuser can take from the
-- role what only a superuser gives, and keep its sessions out of the server's log.
--
-- psql variables: probe_role, probe_connection_limit; probe_verifier only where the password has to change: a SCRAM
-- verifier, so that no password reaches the server's log.

SET LOCAL search_path = pg_catalog, pg_temp;

SELECT format('CREATE ROLE %I LOGIN', :'probe_role') WHERE to_regrole(quote_ident(:'probe_role')) IS NULL \gexec
ALTER ROLE :"probe_role" LOGIN CONNECTION LIMIT :probe_connection_limit VALID UNTIL 'infinity';
-- Only what it has: to say NOSUPERUSER takes a superuser, even where there is nothing to take away.
SELECT format('ALTER ROLE %I %s', :'probe_role', attribute)
FROM pg_roles, LATERAL (VALUES ('NOSUPERUSER', rolsuper), ('NOCREATEDB', rolcreatedb), ('NOCREATEROLE', rolcreaterole),
    ('NOREPLICATION', rolreplication), ('NOBYPASSRLS', rolbypassrls)) AS its (attribute, has)
WHERE rolname = :'probe_role' AND has \gexec
-- It ends its own server connection after each proof; without this the server's log would show a FATAL every time.
ALTER ROLE :"probe_role" RESET ALL;
SELECT format('ALTER ROLE %I SET log_min_messages = panic', :'probe_role')
FROM pg_roles WHERE rolname = current_user AND rolsuper \gexec

SELECT format('REVOKE %I FROM %I', g.rolname, m.rolname)
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE m.rolname = :'probe_role' \gexec

\if :{?probe_verifier}
ALTER ROLE :"probe_role" PASSWORD :'probe_verifier';
\endif
