"""What the database hosts hold: roles, databases and tables, and who may reach them."""

from __future__ import annotations

from lab.docker import file_script, shell
from lab.topology import ARCHIVE, BILLING, HOSTS, MAIN, Lab

# How each role of db1 is created beside its password. The last five are the ones a pooler must turn away.
ATTRIBUTES = {
    "postgres": "SUPERUSER",
    "ingest": "LOGIN",
    "dashboard": "LOGIN",
    "worker": "LOGIN",
    "grafana_ro": "LOGIN",
    "analytics_ro": "LOGIN",
    "scheduler": "LOGIN",
    "etl-batch": "LOGIN",
    "o'brien-reports": "LOGIN",
    "expired_role": "LOGIN VALID UNTIL '2020-01-01'",
    "nologin_role": "NOLOGIN",
    "nopassword_role": "LOGIN",
    "replication_role": "LOGIN REPLICATION",
    "other_superuser": "LOGIN SUPERUSER",
}
WRITERS = ("ingest", "dashboard", "worker", "scheduler", "etl-batch")
READERS = ("grafana_ro", "analytics_ro", "o'brien-reports")

# Transfers between accounts keep the sum: a lost or doubled transaction shows.
ACCOUNTS = """
CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL);
INSERT INTO accounts SELECT id, 1000 FROM generate_series(1, 100) AS id;
"""
POSITIONS = """
CREATE TABLE positions (
    at timestamptz NOT NULL DEFAULT now(), device integer NOT NULL,
    latitude double precision NOT NULL, longitude double precision NOT NULL, speed real NOT NULL);
SELECT create_hypertable('positions', 'at');
INSERT INTO positions
    SELECT now() - n * interval '1 minute', n % 50, 50 + random(), 7 + random(), 120 * random()
    FROM generate_series(1, 2000) AS n;
"""


def seed(lab: Lab, host: str, passwords: dict[str, str]) -> None:
    """Fill a fresh database host."""
    shell(lab.container(host), seed_script(lab, host, passwords))


def seed_script(lab: Lab, host: str, passwords: dict[str, str]) -> str:
    """The same as a script. The server's log and pg_stat_statements, which tests search, see none of its passwords."""
    quiet = "-c log_statement=none -c log_min_error_statement=panic -c pg_stat_statements.track=none"
    return "\n".join(
        [
            file_script("/etc/postgresql/17/main/pg_hba.conf", hba(lab), "0640", "postgres:postgres"),
            "systemctl restart postgresql@17-main.service",
            f"cd / && PGOPTIONS='{quiet}' runuser -u postgres -- \\",
            "    psql -X --quiet --set=ON_ERROR_STOP=1 --output=/dev/null <<'END OF SQL'",
            script(passwords) if host == "db1" else second_script(passwords),
            "END OF SQL",
            "",
        ]
    )


def hba(lab: Lab) -> str:
    """Only the application hosts come in: the lines for the poolers are the product's to add."""
    apps = [host for host in HOSTS if host.group == "apps"]
    lines = [f"host    all  all  {lab.address(host)}/32  scram-sha-256   # {host.name}" for host in apps]
    return "\n".join(["local   all  all  peer", "local   replication  all  peer", *lines, ""])


def script(passwords: dict[str, str]) -> str:
    roles = [_role(name, attributes, passwords.get(name)) for name, attributes in ATTRIBUTES.items()]
    return "\n".join(
        [
            "CREATE EXTENSION pg_stat_statements;",
            *roles,
            "ALTER ROLE analytics_ro SET default_transaction_read_only = on;",
            "ALTER ROLE analytics_ro SET statement_timeout = '30s';",
            f"CREATE DATABASE {identifier(MAIN)};",
            f"CREATE DATABASE {identifier(ARCHIVE)};",
            f"\\connect {identifier(MAIN)}",
            "SET client_min_messages = error;",
            "CREATE EXTENSION timescaledb;",
            "CREATE EXTENSION pg_stat_statements;",
            ACCOUNTS,
            POSITIONS,
            *_grants(),
            f"\\connect {identifier(ARCHIVE)}",
            ACCOUNTS,
            *_grants(),
        ]
    )


def second_script(passwords: dict[str, str]) -> str:
    """db2: databases and roles of its own, some under a name that db1 has too."""
    return "\n".join(
        [
            "CREATE EXTENSION pg_stat_statements;",
            *(_role(name, "LOGIN", password) for name, password in passwords.items()),
            f"CREATE DATABASE {identifier(BILLING)};",
            f"CREATE DATABASE {identifier(ARCHIVE)};",
        ]
    )


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A string constant; the E form, as a backslash means something else where standard_conforming_strings is off."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _role(name: str, attributes: str, password: str | None) -> str:
    verb = "ALTER" if name == "postgres" else "CREATE"
    secret = f" PASSWORD {literal(password)}" if password else ""
    return f"{verb} ROLE {identifier(name)} {attributes}{secret};"


def _grants() -> list[str]:
    writers, readers = (", ".join(map(identifier, roles)) for roles in (WRITERS, READERS))
    tables = "ON ALL TABLES IN SCHEMA public TO"
    return [f"GRANT SELECT, INSERT, UPDATE {tables} {writers};", f"GRANT SELECT {tables} {readers};"]
