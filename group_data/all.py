# Poolward's defaults and the operator's knobs. Data only: flat, JSON-friendly, PgBouncer's own names and units.
# Override what you need in group_data/<environment>.py (the inventory's file name) or in a host's own data.

# Commands run as root through sudo. Log in as root and set this to False where there is no sudo.
_sudo = True

# What every pooler gets unless pgbouncer_settings says otherwise. A key the installed PgBouncer does not know yet is
# left out of its file.
pgbouncer_defaults = {
    "listen_addr": "*",
    "listen_port": 6432,
    "unix_socket_dir": "/var/run/postgresql",
    "auth_type": "scram-sha-256",
    # The point of it all: a server connection is lent for one transaction.
    "pool_mode": "transaction",
    "default_pool_size": 20,
    "reserve_pool_size": 5,
    "reserve_pool_timeout": 3,
    "max_client_conn": 1000,
    # PgBouncer lets a client queue for two minutes; no caller of a web request waits that long, and a short queue
    # turns a jam into errors somebody sees.
    "query_wait_timeout": 15,
    # After one failed login all clients fail fast for this long: 15 s turn a PostgreSQL restart into an outage.
    "server_login_retry": 3,
    # Take TLS where the server offers it; PgBouncer's own default before 1.20 is to refuse.
    "server_tls_sslmode": "prefer",
    # JDBC and lib/pq send extra_float_digits. `options` beside it: what a client puts there is dropped in silence, so
    # pin such settings on the role (ALTER ROLE … SET); leaving it out opens CVE-2026-107349 on 1.20 to 1.26.0.
    "ignore_startup_parameters": ["extra_float_digits", "options"],
    # Drivers that prepare (psycopg 3, JDBC, asyncpg, pgx) work in transaction mode from 1.21 on.
    "max_prepared_statements": 200,
    # A client whose machine died is noticed in two minutes instead of two hours.
    "tcp_keepidle": 60,
    "tcp_keepintvl": 15,
    "tcp_keepcnt": 4,
    # A restarted fleet reconnects all at once.
    "listen_backlog": 1024,
}

# "shared": poolers on hosts of their own. "app-local": one on each application host, a host that stands in both groups,
# `poolers` and `apps`; it serves the services of its host alone, starts before and stops after them. They connect to
# 127.0.0.1, or with listen_addr = "" to its Unix socket. The bill counts the pools of every such host.
pgbouncer_topology = "shared"

# What an app-local pooler gets over the defaults. Small: each host of them has pools of its own.
pgbouncer_app_local_defaults = {
    "listen_addr": "127.0.0.1",
    "default_pool_size": 4,
    "reserve_pool_size": 1,
    "max_client_conn": 200,
}

# Yours, over the defaults.
pgbouncer_settings = {}

# One line of [databases] each: `host` names a host of the group `databases`, the other keys are PgBouncer's.
pgbouncer_databases = {}

# Limits per role ([users]); from PgBouncer 1.23 on.
pgbouncer_users = {}

# Lines of PgBouncer's own pg_hba.conf (auth_type = hba): who may log in to the pooler, from where and how. They have to
# let the probe in from the pooler itself. Empty: everybody by password (auth_type = scram-sha-256).
pgbouncer_hba = []

# Poolers behind one load balancer, each with its peer_id, like {"pool1": 1, "pool2": 2}. A request to cancel a query
# comes over a connection of its own and may reach another pooler; peers pass it on. From PgBouncer 1.21 on.
pgbouncer_peers = {}

# Users that stand in userlist.txt of every pooler, where PgBouncer looks before it asks the server; who logs in to its
# console over TCP (admin_users, stats_users) should. Each has one source of its SCRAM verifier:
#   "shop": {"verifier_from": "db1"}             what db1 has, byte for byte: PgBouncer can log in to db1 as shop
#   "admin": {"password_command": ["vault", …]}  made from what a command on your own machine prints; ["cat"] takes it
#                                                from the run's standard input. Enough for the console. For a role of
#                                                the server it must be its password there, and db1's verifier is used;
#                                                where db1 is a postgresql_dsn alone, the password stands in the file.
# A verifier is a copy: deploy after ALTER ROLE … PASSWORD (`poolward verify` names the role). PgBouncer goes on letting
# these users in after VALID UNTIL or NOLOGIN, and only the server turns them away; the lookup function does not. Taking
# one out needs a restart, and so does adding one that PgBouncer may have looked up before.
pgbouncer_auth_users = {}

# False: those users alone may log in. No lookup function, no schema and no role for it are made on the server; what an
# earlier deploy made there stays.
pgbouncer_auth_query = True

# Superusers and replication roles never pass through the pooler, but for those named here.
pgbouncer_allow_superusers = []

# True: Poolward writes the poolers' lines into pg_hba.conf. False: it prints the lines that are missing, and stops.
pgbouncer_manage_hba = False

# A deploy whose worst case does not fit the server is refused. True lets it go on, with a line in its output.
pgbouncer_allow_overcommit = False

# The version to install and to render for, like "1.24.1" or Debian's own "1.24.1-1+deb13u2". None: what is installed,
# else what apt offers.
pgbouncer_version = None

# How PgBouncer runs: "package", Debian's under systemd, or "docker", a container by Compose (version 2).
# A container joins a network that is there already, the one of PostgreSQL or of its clients, under the name pgbouncer.
pgbouncer_runtime = "package"
pgbouncer_network = None
# The image, with PgBouncer, psql and timeout in it, and of a tag that does not move. None: one is built on the host
# from Debian's packages, with pgbouncer_version.
pgbouncer_image = None
# Where the host listens for it as well, as Compose writes it: ["127.0.0.1:6432:6432"]. Empty: its network alone.
pgbouncer_publish = []
# A database host with PostgreSQL in a container says so in its own data: postgresql_container = "timescale_db", and
# postgresql_address = "timescale_db" where the pooler is on the same network. It is asked through docker exec,
# as the container's POSTGRES_USER, else as postgres; where that is not its superuser: postgresql_superuser = "app".

# Refuse to deploy on anything older, like "1.26.1", the first with fixes for all vulnerabilities known in October 2026.
# None: known vulnerabilities of the installed package are named, and nothing is refused.
pgbouncer_minimum_version = None

# A command on your own machine that prints the secret, e.g. ["vault", "kv", "get", "-field=password", "kv/pgbouncer"].
# None: a secret is made once on the database host and stays there, readable by root alone. A server without a host (in
# its data postgresql_dsn, a connection string of libpq's) needs them; `poolward handover` has the SQL for its owner.
pgbouncer_auth_secret_command = None
pgbouncer_probe_secret_command = None

# The services that move behind the poolers, in this order; one dictionary each, alike on every host:
#   name, host              what it is called, and the host of the group `apps` it runs on
#   direct                  the reason why it stays direct; then nothing else is needed
#   unit                    its systemd unit; or restart_command, with processes_command, which prints the pids of its
#                           processes (their children count, too); it ends with 0, or with 1 where there is none
#   compose_file, compose_service
#                           the Compose file it stands in, as docker compose was given it, and its name there: for a
#                           service of Docker Compose's in place of `unit`. Its container is made anew, and no other
#   env_file                the file its unit or its container reads (EnvironmentFile=, env_file:); left out where the
#                           variables stand in `environment:` of the Compose file itself; or read_command, which prints
#                           one, and write_command, which takes the whole new one by standard input
#   runs                    "now and then" for a job, which has no session at rest: nothing restarts it, and it needs
#                           `unit` or processes_command
#   run_command             runs such a job once, which proves its move; without it, it ends as "not proved", until its
#                           sessions are seen. It ends with 0 within run_timeout seconds (300), and may be repeated
#   url_variables           the variables that hold a URL, keyword DSN or JDBC URL each, as a list; or
#   host_variable, port_variable, database_variable, user_variable, password_variable
#                           the variables that hold the parts; for PGHOST the others need not be named, and a host
#                           variable without a port variable may hold host:port; user_variable and password_variable
#                           go with a URL without a login, too (Spring)
#   role, database          where the settings do not say them
#   pooler                  a host of the group `poolers`, or host:port of an address in front of several; left out
#                           where its own host has an app-local one
#   pool                    "transaction", "session", or the name of an entry of pgbouncer_databases
#   prepared_statements     "off" for a service that prepares none; PgBouncer before 1.21 loses them
#   connections             how many it opens at most; of a service that stays direct, the bill of its server takes
#                           them off, or else what is seen of it now
#   health                  a URL that answers 200, or a command (a list) that succeeds; health_timeout in seconds (5)
#   errors_command          prints what it has seen fail since it started, as JSON: {"53300": 4}; for the report
#   soak                    seconds for which everything has to stay well before the next service moves (60)
#   max_wait                seconds a client may wait for a server connection (5)
#   accept_hazards          why it moves although the scan (poolward assess) says that it needs more than its pool gives
# Commands are lists, run without a shell, as root, on the service's host. A service that only they know, and two jobs:
#   {"name": "billing", "host": "app1", "pooler": "pool1", "url_variables": ["DATABASE_URL"],
#    "read_command": ["billing-settings", "export"], "write_command": ["billing-settings", "import"],
#    "restart_command": ["billing-ctl", "restart"], "processes_command": ["pgrep", "-f", "/srv/billing/app.py"]}
#   {"name": "report", "host": "app1", "unit": "report.service", "runs": "now and then",
#    "run_command": ["systemctl", "start", "report.service"], …}        a oneshot unit on a timer, and leave to start it
#   {"name": "invoices", "host": "app1", "processes_command": ["pgrep", "-f", "/srv/invoices.py"],
#    "runs": "now and then", …}                                         a line of a crontab that nobody else may run
services = []
