SELECT current_user, current_database(), extract(epoch FROM pg_postmaster_start_time())::float8, host(inet_client_addr())
