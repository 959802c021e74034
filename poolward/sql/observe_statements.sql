-- What pg_stat_statements has counted, by role and database, for the whole server; one JSON line.
-- Variables: schema (the extension's, quoted), features (session_features.sql).
SELECT to_regclass(:'schema' || '.pg_stat_statements_info') IS NOT NULL AS has_info \gset
\set info null
\if :has_info
SELECT row_to_json(i) AS info FROM :schema.pg_stat_statements_info AS i \gset
\endif
SELECT json_build_object(
    'info', :'info'::json,
    'track_utility', current_setting('pg_stat_statements.track_utility')::boolean,
    'counted', coalesce((
        SELECT json_agg(c) FROM (
            SELECT what, detail, rolname AS role, datname AS database, sum(calls) AS calls
            FROM :schema.pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid JOIN pg_database ON pg_database.oid = dbid,
                 :features
            WHERE what <> 'FETCH'
            GROUP BY 1, 2, 3, 4) AS c), '[]'));
