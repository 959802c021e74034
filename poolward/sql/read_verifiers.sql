-- The SCRAM verifiers of roles that may log in, as one JSON line: secrets. Variables: roles (JSON array of names).
SELECT coalesce(json_object_agg(rolname, rolpassword), '{}') FROM pg_authid
WHERE rolcanlogin AND rolpassword LIKE 'SCRAM-SHA-256$%' AND rolname IN (SELECT json_array_elements_text(:'roles'));
