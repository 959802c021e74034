-- One sample of who needs a connection right now: sessions in a transaction, by database and role; one JSON line.
SELECT coalesce(jsonb_agg(s), '[]') FROM (
    SELECT datname AS database, usename AS role,
           count(*) FILTER (WHERE state = 'active') AS active,
           count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
           count(*) AS sessions
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname IS NOT NULL AND usename IS NOT NULL
    GROUP BY 1, 2) s;
