"""Settings that are right one by one and fail together, each with the reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poolward.errors import Problem
from poolward.fleet import Pooler
from poolward.settings import Value

_VERIFYING = ("verify-ca", "verify-full")


def problems(settings: Mapping[str, Value], where: str, *, own_hba: bool = False) -> list[Problem]:
    """What cannot work in these `[pgbouncer]` settings taken together; Poolward's defaults have to be among them.

    `own_hba`: pgbouncer_hba is given, which brings auth_type = hba and the file with it.
    """
    return [*_client_tls(settings, where), *_server_tls(settings, where), *_authentication(settings, where, own_hba)]


def unlimited(pooler: Pooler) -> Iterable[Problem]:
    """Entries whose pools have no size (0, from PgBouncer 1.24 on) and that have no limit of their own either."""
    for entry in pooler.entries:
        limit = entry.keys.get("max_db_connections") or pooler.effective("max_db_connections")
        if pooler.entry_size(entry) == 0 and not int(str(limit or 0)):
            yield Problem(
                f'{pooler.name}: pgbouncer_databases["{entry.name}"]',
                "its pools have no size (0), and nothing else limits how many connections it opens",
                "give it max_db_connections",
            )


def _client_tls(settings: Mapping[str, Value], where: str) -> Iterable[Problem]:
    mode = _text(settings, "client_tls_sslmode") or "disable"
    if mode != "disable":
        for key in ("client_tls_key_file", "client_tls_cert_file"):
            if not _text(settings, key):
                yield Problem(
                    where,
                    f"client_tls_sslmode = {mode} needs {key}: without it PgBouncer does not start",
                    f"give {key} the path of a file on the pooler that its service user can read",
                )
    if (mode in _VERIFYING or _text(settings, "auth_type") == "cert") and not _text(settings, "client_tls_ca_file"):
        yield Problem(
            where,
            "the certificates of clients cannot be verified without client_tls_ca_file",
            "give it the path of the authority's certificate on the pooler",
        )


def _server_tls(settings: Mapping[str, Value], where: str) -> Iterable[Problem]:
    mode = _text(settings, "server_tls_sslmode")
    if mode in _VERIFYING and not _text(settings, "server_tls_ca_file"):
        yield Problem(
            where,
            f"server_tls_sslmode = {mode} needs server_tls_ca_file: every login to PostgreSQL would fail",
            "give it the path of the authority's certificate on the pooler",
        )
    pair = ("server_tls_key_file", "server_tls_cert_file")
    given = [key for key in pair if _text(settings, key)]
    if len(given) == 1:
        missing = next(key for key in pair if key not in given)
        yield Problem(where, f"{given[0]} is of no use without {missing}", "give both or neither")


def _authentication(settings: Mapping[str, Value], where: str, own_hba: bool) -> Iterable[Problem]:
    kind = _text(settings, "auth_type")
    if own_hba and _text(settings, "auth_hba_file"):
        yield Problem(where, "auth_hba_file and pgbouncer_hba are two answers to one question", "keep one of them")
    if own_hba:
        return
    if kind == "hba" and not _text(settings, "auth_hba_file"):
        yield Problem(where, "auth_type = hba needs auth_hba_file: nobody could log in", "give its path on the pooler")
    if kind in ("any", "trust"):
        yield Problem(
            where,
            f"auth_type = {kind} lets everybody in without a password, as whatever role they name",
            "use scram-sha-256, or hba with a trust line for the Unix socket alone",
        )
    if kind in ("plain", "md5", "cert", "pam", "ldap"):
        yield Problem(
            where,
            f"auth_type = {kind} leaves PgBouncer without the keys to log in to a SCRAM server as the client",
            "use scram-sha-256",
        )


def _text(settings: Mapping[str, Value], key: str) -> str:
    return str(settings.get(key, "")).lower() if not key.endswith("_file") else str(settings.get(key, ""))
