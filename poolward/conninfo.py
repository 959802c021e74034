"""A PostgreSQL server by libpq's connection string, as the operator writes it: what is wrong with one. Pure."""

from __future__ import annotations

# Where libpq takes a secret from a connection string (fe-connect.c, PQconninfoOptions; the last three from 18).
_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
ELSEWHERE = "libpq reads it from ~/.pgpass, from PGPASSFILE, or from a service in PGSERVICEFILE (service=…)"


def problem(dsn: object) -> tuple[str, str] | None:
    """What is wrong with a connection string and what to do, or None. It is never repeated: it may hold a password."""
    from psycopg import ProgrammingError  # for the fleets that have one: it takes a while to load
    from psycopg.conninfo import conninfo_to_dict

    example = "host=db1.internal user=monitor dbname=postgres"
    if not isinstance(dsn, str) or not dsn.strip():
        return "is no connection string of libpq's", example
    try:
        keys = conninfo_to_dict(dsn)
    except ProgrammingError:
        return "cannot be read by libpq", f"keyword=value pairs, or a URI: {example}"
    if found := [key for key in _SECRETS if keys.get(key)]:
        return f"has a {found[0]} in it, where others can read it", ELSEWHERE
    return None
