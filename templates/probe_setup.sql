-- What proves that a login passes through the pooler, without any application's password: a role without rights. Run as
-- a superuser, in one transaction; running it again changes nothing.
--
-- psql variables: probe_role, probe_connection_limit; probe_verifier only where the password has to change: a SCRAM
-- verifier, so that no password reaches the server's log.

SET LOCAL search_path = pg_catalog, pg_temp;

SELECT format('CREATE ROLE %I LOGIN', :'probe_role') WHERE to_regrole(quote_ident(:'probe_role')) IS NULL \gexec
ALTER ROLE :"probe_role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT :probe_connection_limit VALID UNTIL 'infinity';
-- It ends its own server connection after each proof; without this the server's log would show a FATAL every time.
ALTER ROLE :"probe_role" RESET ALL;
ALTER ROLE :"probe_role" SET log_min_messages = panic;

SELECT format('REVOKE %I FROM %I', g.rolname, m.rolname)
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE m.rolname = :'probe_role' \gexec

\if :{?probe_verifier}
ALTER ROLE :"probe_role" PASSWORD :'probe_verifier';
\endif
