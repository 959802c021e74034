# PostgreSQL runs on the host itself. variables: port
as_postgres() { runuser -u postgres -- "$@"; }
at_server() { "$@"; }
