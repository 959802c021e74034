-- One sample of what sessions hold beyond their transactions; one JSON line. Variable: features (session_features.sql).
-- Locks are read first, in a statement of their own: whoever has been idle since before then, and holds one, holds it
-- for the session. In one statement a lock of a transaction that ends meanwhile would look the same.
SELECT extract(epoch FROM now()) AS locks_read, coalesce(json_object_agg(pid, locks), '{}') AS locks
FROM (SELECT pid, count(*) AS locks FROM pg_locks WHERE locktype = 'advisory' AND granted GROUP BY pid) AS held \gset
WITH session AS MATERIALIZED (
    SELECT pid, coalesce(datname, '') AS database, coalesce(usename, '') AS role, host(client_addr) AS address,
           client_port AS port, coalesce(state, '') AS state, state_change, query,
           extract(epoch FROM clock_timestamp() - state_change) AS seconds
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
sign AS (
    SELECT pid, 'advisory lock' AS what, '' AS detail, 'pg_locks' AS source, (:'locks'::json ->> pid::text)::int AS count
    FROM session WHERE state = 'idle' AND extract(epoch FROM state_change) < :'locks_read'::numeric
    UNION ALL
    SELECT pid, 'idle in transaction', '', 'pg_stat_activity', 1 FROM session WHERE state LIKE 'idle in transaction%'
    UNION ALL
    SELECT pid, CASE what WHEN 'FETCH' THEN 'WITH HOLD cursor' ELSE what END, detail, 'pg_stat_activity', 1
    FROM session, :features
    WHERE what <> 'FETCH' OR state = 'idle')
SELECT json_build_object(
    'sessions', (SELECT count(*) FROM session),
    'signs', coalesce((
        SELECT json_agg(json_build_object(
            'pid', pid, 'database', database, 'role', role, 'address', address, 'port', port, 'seconds', seconds,
            'what', what, 'detail', detail, 'source', source, 'count', count))
        FROM sign JOIN session USING (pid) WHERE count IS NOT NULL), '[]'));
