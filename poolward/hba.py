"""pg_hba.conf as far as the poolers are concerned: the lines they need, the rule that meets them, the new file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from poolward.observed import HbaRule

BEGIN, END = "# BEGIN poolward", "# END poolward"
_MARK = "  # "  # what stands between a line and the name of its pooler
_NOTE = "# Lines between these two marks are written by Poolward (pgbouncer_manage_hba)."


def lines(databases: Mapping[str, Iterable[str]], addresses: Mapping[str, str]) -> tuple[str, ...]:
    """The lines the poolers need: `databases` and `addresses` (or networks) by pooler. One line each, SCRAM only."""
    return (
        _NOTE,
        *(
            f"host {','.join(_quoted(name) for name in sorted(databases[pooler]))} all "
            f"{_network(addresses[pooler])} scram-sha-256{_MARK}{pooler}"
            for pooler in sorted(databases)
            if pooler in addresses
        ),
    )


def with_block(text: str, block: Sequence[str]) -> str:
    """The file with our block in it: replaced where it stands, else at the end; without it where `block` is empty.

    The end, because PostgreSQL takes the first line that matches: a rule the operator wrote to keep somebody out goes
    on keeping them out.
    """
    ours = "\n".join((BEGIN, *block, END, "")) if block else ""
    begin, end = re.escape(BEGIN), re.escape(END)
    # never across a second BEGIN: where somebody deleted an END, the lines behind the first one are not ours
    pattern = re.compile(rf"^{begin}$(?:(?!^{begin}$).)*?^{end}$\n?", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: ours, text, count=1)
    return f"{text.rstrip(chr(10))}\n{ours}" if block else text


def block_of(
    databases: Mapping[str, Iterable[str]], addresses: Mapping[str, str], today: Sequence[str], seen: Iterable[str]
) -> tuple[str, ...]:
    """Our whole block: a line for each pooler in `databases`; empty where there is none.

    Of a pooler that was not `seen` in this run today's line stays, where there is one: nobody can tell what it still
    serves, or where it connects from.
    """
    note, *written = lines(databases, addresses)
    spoken_for = {pooler for pooler in seen if pooler in addresses or pooler not in databases}
    by_pooler = {_pooler_of(line): line for line in written}
    by_pooler |= {_pooler_of(line): line for line in today if _MARK in line and _pooler_of(line) not in spoken_for}
    return (note, *(by_pooler[pooler] for pooler in sorted(by_pooler))) if by_pooler else ()


def block_differences(wanted: Sequence[str], found: Sequence[str]) -> tuple[list[str], list[str]]:
    """The rules our block in pg_hba.conf lacks, and the lines in it that no pooler needs, whoever wrote them."""
    missing = [line for line in wanted if line not in found and not line.startswith("#")]
    return missing, [line for line in found if line not in (*wanted, _NOTE)]


def without(block: Sequence[str], poolers: Iterable[str]) -> tuple[str, ...]:
    """Our block without the lines of these poolers; empty when no other has one."""
    gone = set(poolers)
    kept = tuple(line for line in block if _MARK not in line or _pooler_of(line) not in gone)
    return kept if poolers_of(kept) else ()


def poolers_of(block: Iterable[str]) -> list[str]:
    """The poolers that lines of our block let in."""
    return [_pooler_of(line) for line in block if _MARK in line]


def _pooler_of(line: str) -> str:
    return line.rsplit(_MARK, 1)[-1]


def first_match(rules: Iterable[HbaRule], database: str, user: str, address: str, *, tls: bool) -> HbaRule | None:
    """The rule PostgreSQL would apply to such a connection over TCP, or None when it would be rejected."""
    for rule in rules:
        types = ("host", "hostssl" if tls else "hostnossl")
        if rule.error is None and rule.type in types and _covers(rule, database, user, address):
            return rule
    return None


def rules_by_address(rules: Iterable[HbaRule]) -> list[HbaRule]:
    """Rules that tell clients apart by a single address: behind a pooler all of them come from the pooler's."""
    single = ("255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    return [rule for rule in rules if rule.type.startswith("host") and rule.netmask in single and not _loopback(rule)]


def shown(rule: HbaRule) -> str:
    """A rule as one readable line."""
    where = f" {rule.address}" if rule.address else ""
    return f"line {rule.line}: {rule.type} {','.join(rule.databases)} {','.join(rule.users)}{where} {rule.method}"


def _covers(rule: HbaRule, database: str, user: str, address: str) -> bool:
    return (
        any(
            token in ("all", database) or (token == "sameuser" and user == database) or _is_match(token, database)
            for token in rule.databases
        )
        and any(token in ("all", user) or _is_match(token, user) for token in rule.users)
        and _address_covers(rule, address)
    )


def _is_match(token: str, name: str) -> bool:
    return token.startswith("/") and re.search(token[1:], name) is not None


def _address_covers(rule: HbaRule, address: str) -> bool:
    if rule.address == "all":
        return True
    if rule.address is None or rule.netmask is None:
        return False  # samehost, samenet and host names: the login that follows tells
    try:
        prefix = bin(int(ipaddress.ip_address(rule.netmask))).count("1")
        covered = ipaddress.ip_network(f"{rule.address}/{prefix}", strict=False)
        # Of either family, as mypy says; two of different families raise the TypeError below.
        return ipaddress.ip_network(address).subnet_of(covered)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _loopback(rule: HbaRule) -> bool:
    return rule.address in ("127.0.0.1", "::1")


def _network(address: str) -> str:
    return address if "/" in address else f"{address}/{128 if ':' in address else 32}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def missing(rules: Iterable[HbaRule], databases: Iterable[str], address: str, role: str) -> list[str]:
    """The databases a pooler at this address cannot reach as `role` on the server, TLS or not."""
    found = tuple(rules)
    return [
        name
        for name in databases
        if not any(
            (rule := first_match(found, name, role, address, tls=tls)) and rule.method != "reject"
            for tls in (True, False)
        )
    ]
