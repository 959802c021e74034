"""What of a service's connection a pooler turns away, or takes and does not do: said before the move. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from poolward import startup
from poolward.dsn import Connection
from poolward.errors import Problem
from poolward.service import LIBPQ_VARIABLES, Service
from poolward.settings import Value, Version

_PREPARED_SINCE = Version(1, 21)
# Seen: 1.18 turns a client with max_protocol_version=latest away, 1.24.1 too from its start until some other login has
# succeeded, 1.26.1 never. 1.25 was not tried.
_NEGOTIATES_SINCE = Version(1, 26)
_DIRECT_TLS_SINCE = Version(1, 25)
_NEEDS_TLS = ("require", "verify-ca", "verify-full", "true")  # `true` of ssl=true, as JDBC and asyncpg have it
# JDBC's names for what libpq calls otherwise.
_JDBC_NAMES = {"gssencmode": "gssEncMode", "channel_binding": "channelBinding", "search_path": "currentSchema"}
# Settings that are lists of names, which PostgreSQL wants quoted one by one.
_LISTS_OF_NAMES = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")
_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)


def refusals(
    service: Service,
    variable: str,
    connection: Connection,
    pool_mode: str,
    version: Version,
    settings: Mapping[str, Value],
    pinned: Collection[str] = (),
) -> list[Problem]:
    """Why this connection must not move as it is, each with what to do.

    `variable` names the connection in the service's settings; `pool_mode` is the entry's; `settings` are the pooler's
    own, as written or as SHOW CONFIG has them; `pinned` are the settings that the role has of itself in this database
    (ALTER ROLE … SET), whose loss on the way loses nothing.
    """
    look = _Look(service, variable, connection, version, settings)
    return [
        Problem(service.where, message, hint)
        for message, hint in (
            *_startup_parameters(look, pinned),
            *_prepared_statements(look, pool_mode),
            *_encryption(look),
            *_replication(look),
        )
    ]


class _Look:
    """One connection before one pooler."""

    def __init__(
        self, service: Service, variable: str, connection: Connection, version: Version, settings: Mapping[str, Value]
    ) -> None:
        self.service, self.variable, self.connection = service, variable, connection
        self.version, self.settings = version, settings

    def parameter(self, name: str) -> str:
        """A parameter by libpq's name, in lower case."""
        return self.connection.parameters.get(self._ours(name), "").lower()

    def spelt(self, name: str) -> str:
        """Where the operator finds a parameter."""
        if name in self.connection.inherited:
            return next((variable for variable, keyword in LIBPQ_VARIABLES.items() if keyword == name), name)
        return f"{self._ours(name)} in {self.variable}"

    def _ours(self, name: str) -> str:
        """The driver's own name of what libpq and PostgreSQL call so."""
        given = self.connection.parameters
        if name == "sslmode" and name not in given and "ssl" in given:
            return "ssl"
        return _JDBC_NAMES.get(name, name) if self.connection.shape == "jdbc" else name

    def setting(self, name: str) -> str:
        """A setting of the pooler's, in lower case."""
        return str(startup.effective(name, self.version, self.settings)).lower()


def _startup_parameters(look: _Look, pinned: Collection[str]) -> Iterable[tuple[str, str]]:
    for name, value in startup.sent(look.connection).items():
        if name == "options":
            yield from _options(look, value, pinned)
            continue
        fate = startup.fate(name, look.version, look.settings)
        harmless = name == "extra_float_digits" or name.lower() in _lowered(pinned)
        if fate == "kept" or (fate == "dropped" and harmless):
            continue
        if name == "extra_float_digits":
            yield (
                f"{look.variable}: PgBouncer {look.version} turns the login away: unsupported startup parameter "
                f"{name}, which JDBC always sends",
                "put extra_float_digits and options into ignore_startup_parameters, as Poolward's defaults have it",
            )
        else:
            yield _lost(look, look.spelt(name), [(name, value)], fate)


def _options(look: _Look, text: str, pinned: Collection[str]) -> Iterable[tuple[str, str]]:
    read = startup.split_options(text)
    fate, names = startup.fate_of_options(text, look.version, look.settings)
    where = look.spelt("options")
    if fate == "refused" and read.foreign:
        yield (
            f"{where}: PgBouncer {look.version} turns the login away because of {read.foreign}: in options it takes "
            "-c name=value only",
            "take it out; a server's setting can be given to the role: ALTER ROLE … SET",
        )
        return
    had = _lowered(pinned) if fate == "dropped" else set()
    lost = [(name, value) for name, value in read.settings if name in names and name.lower() not in had]
    if lost:
        yield _lost(look, where, lost, fate)


def _lost(look: _Look, where: str, settings: Iterable[tuple[str, str]], fate: startup.Fate) -> tuple[str, str]:
    """A setting that would not arrive, and the commands that give it to the role instead."""
    named = list(settings)
    names = ", ".join(name for name, _ in named)
    role, database = look.connection.user or look.service.role, look.connection.database
    commands = "\n".join(role_setting(role, database, name, value) for name, value in named)
    if fate == "dropped":
        message = f"{where}: PgBouncer {look.version} drops {names} without a word (ignore_startup_parameters)"
        return message, f"give it to the role, once, on the server, and it may stay where it is:\n{commands}"
    return (
        f"{where}: PgBouncer {look.version} turns the login away: unsupported startup parameter {names}",
        f"take it out of the settings, and give it to the role, once, on the server:\n{commands}",
    )


def _prepared_statements(look: _Look, pool_mode: str) -> Iterable[tuple[str, str]]:
    if look.service.prepared_statements == "off" or pool_mode == "session":
        return
    hint = (
        "Does it prepare none (psycopg2; prepare_threshold=None in psycopg, statement_cache_size=0 in asyncpg, "
        'prepareThreshold=0 in JDBC)? Then declare "prepared_statements": "off". Else let it use an entry with '
        'pool_mode session: "pool": "session"'
    )
    if look.version < _PREPARED_SINCE:
        yield (
            f"PgBouncer {look.version} loses prepared statements between transactions; {_PREPARED_SINCE} keeps them",
            hint,
        )
    elif look.setting("max_prepared_statements") == "0":
        yield "max_prepared_statements = 0: PgBouncer loses prepared statements between transactions", f"set it. {hint}"


def _encryption(look: _Look) -> Iterable[tuple[str, str]]:
    mode, accepted = look.parameter("sslmode"), look.setting("client_tls_sslmode")
    if mode in _NEEDS_TLS and accepted == "disable":
        yield (
            f"{look.spelt('sslmode')} is {mode}, and the pooler takes no TLS from clients "
            "(client_tls_sslmode = disable)",
            "give the pooler a certificate: client_tls_sslmode, client_tls_cert_file, client_tls_key_file",
        )
    if mode == "disable" and accepted in _NEEDS_TLS:
        yield (
            f"{look.spelt('sslmode')} is disable, and the pooler lets nobody in without TLS "
            f"(client_tls_sslmode = {accepted})",
            "set sslmode=require in the settings",
        )
    if look.parameter("sslnegotiation") == "direct" and look.version < _DIRECT_TLS_SINCE:
        yield (
            f"{look.spelt('sslnegotiation')} is direct, which PgBouncer knows from {_DIRECT_TLS_SINCE} on",
            "take it out",
        )
    if look.parameter("gssencmode") == "require":
        yield f"{look.spelt('gssencmode')} is require, and PgBouncer knows no GSSAPI encryption", "use TLS"
    if look.parameter("channel_binding") == "require":
        yield (
            f"{look.spelt('channel_binding')} is require, and PgBouncer offers no channel binding",
            "set it to prefer; sslmode=verify-full still proves who the pooler is",
        )
    newest = (look.parameter("max_protocol_version") or "3.0") != "3.0"
    oldest = (look.parameter("min_protocol_version") or "3.0") != "3.0"
    if oldest or (newest and look.version < _NEGOTIATES_SINCE):
        name = "min_protocol_version" if oldest else "max_protocol_version"
        yield (
            f"{look.spelt(name)} asks for a protocol newer than 3.0; PgBouncer {look.version} may turn it away",
            "take it out",
        )


def _replication(look: _Look) -> Iterable[tuple[str, str]]:
    if look.parameter("replication"):
        yield (
            f"{look.spelt('replication')} is set: a replication connection is no client of a pool",
            'leave this service direct: "direct": "replication"',
        )


def role_setting(role: str, database: str, name: str, value: str) -> str:
    """The command that gives a role what its client can no longer ask for, in one database."""
    parts = _names(value) if name.lower() in _LISTS_OF_NAMES else [value]
    shown = "'…'" if _SECRET.search(name) else ", ".join(_literal(part) for part in parts)
    setting = ".".join(_identifier(part) for part in name.replace("-", "_").split("."))
    return f"ALTER ROLE {_identifier(role or '…')} IN DATABASE {_identifier(database or '…')} SET {setting} TO {shown};"


def _names(text: str) -> list[str]:
    """The names in a list as PostgreSQL reads it: folded to lower case unless in double quotes."""
    found = re.findall(r'\s*(?:"((?:[^"]|"")*)"|([^",]*))\s*(?:,|$)', text)
    return [
        quoted.replace('""', '"') if quoted else bare.strip().lower()
        for quoted, bare in found
        if quoted or bare.strip()
    ]


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"'{quoted}'" if "\\" not in value else "E'" + quoted.replace("\\", "\\\\") + "'"


def _lowered(names: Collection[str]) -> set[str]:
    return {name.lower() for name in names}
