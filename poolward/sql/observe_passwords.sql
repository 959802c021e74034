-- What kind of password each role has, never the password; one JSON line. A superuser's to read.
-- Variables: own_roles (JSON array of names).
SELECT coalesce(json_object_agg(rolname, CASE
    WHEN rolpassword IS NULL THEN 'none'
    WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram-sha-256'
    WHEN rolpassword ~ '^md5[0-9a-f]{32}$' THEN 'md5'
    ELSE 'other' END), '{}')
FROM pg_authid
WHERE rolcanlogin OR rolname IN (SELECT json_array_elements_text(:'own_roles'));
