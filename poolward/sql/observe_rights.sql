-- What this session may do and see; one JSON line.
SELECT json_build_object(
    'role', quote_ident(current_user),
    'read_only', current_setting('transaction_read_only')::boolean,
    'sessions', pg_has_role('pg_read_all_stats', 'USAGE'),
    'passwords', has_table_privilege('pg_authid', 'SELECT'),
    'hba', has_table_privilege('pg_hba_file_rules', 'SELECT')
        AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE'));
