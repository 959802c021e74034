-- The rules of pg_hba.conf as PostgreSQL reads the file; one JSON line. A superuser's to read.
SELECT coalesce(json_agg(json_build_object(
    'line', line_number, 'type', coalesce(type, ''), 'databases', coalesce(database, '{}'),
    'users', coalesce(user_name, '{}'), 'address', address, 'netmask', netmask,
    'method', coalesce(auth_method, ''), 'error', error) ORDER BY line_number), '[]')
FROM pg_hba_file_rules;
