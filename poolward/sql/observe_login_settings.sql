-- What roles and databases set for their sessions, by name only: a value may be anything; one JSON line.
SELECT json_build_object(
    'track_activities', current_setting('track_activities')::boolean,
    'login_settings', coalesce((
        SELECT json_agg(json_build_object(
            'role', coalesce(rolname, ''), 'database', coalesce(datname, ''), 'name', split_part(setting, '=', 1)))
        FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase,
            unnest(setconfig) AS setting), '[]'));
