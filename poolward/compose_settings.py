"""The settings of a service of Docker Compose's: where a file writes a value, and another value in that place. Pure.

What a value *is*, Compose itself says (`docker compose config`): it alone knows its interpolation, its `.env` and its
reading of an env_file. Here is only where the value stands, so that the few characters that change can be exchanged and
every other byte stays. What comes out is held against Compose's own reading again before anything is recreated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

import yaml

from poolward.errors import PoolwardError

_INTERPOLATION = r"\$\$|\$\{[^}]*\}|\$\w+"
# Pieces of a value's spelling that are not the characters they show, by the quotes around them.
_YAML_OPAQUE = {
    "": _INTERPOLATION,
    "'": rf"''|{_INTERPOLATION}",
    '"': rf"\\x..|\\u.{{4}}|\\U.{{8}}|\\.|{_INTERPOLATION}",
}
_ENV_OPAQUE = {"": rf"\\.|{_INTERPOLATION}", "'": r"(?!)", '"': rf"\\.|{_INTERPOLATION}"}
# What may be written between any quotes, and without.
_HARMLESS = re.compile(r"[\w.:/@%=&?+,\[\] -]*")
_ASSIGNMENT = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[^\s=:#]+)[ \t]*[=:][ \t]*(?P<value>[^\r\n]*)", re.MULTILINE
)


@dataclass(frozen=True)
class _Spelling:
    """How a file writes a value: its characters between the quotes, and where they stand."""

    start: int
    end: int
    text: str
    opaque: str
    """The regular expression of what stands for something else."""


def replaced(content: bytes, service: str, now: Mapping[str, str], changes: Mapping[str, str]) -> bytes:
    """The file with these variables at these values, and every other byte as it was.

    `service` is the service's name where this is a Compose file, empty for an env_file; `now` are the values as Compose
    reads them. Raises PoolwardError, without repeating a value, where one cannot be exchanged without touching more.
    """
    text = _text(content)
    for name, value in changes.items():
        spelling = _spelling(text, service, name)
        if spelling is None and name in now:
            raise PoolwardError(
                f"{name} is set in another place than this file.",
                f"Name that file, or write {name} into `environment` of {service or 'the service'} itself.",
            )
        if spelling is None:
            text = _appended(text, service, name, value)
            continue
        written = _respelled(spelling, name, now.get(name, ""), value)
        text = text[: spelling.start] + written + text[spelling.end :]
        found = _spelling(text, service, name)
        if found is None or found.text != written:
            raise PoolwardError(f"{name} cannot be changed in this line.", "Write it in double quotes, on one line.")
    return text.encode()


def returned(content: bytes, original: bytes, service: str, names: Iterable[str]) -> bytes:
    """The file with these variables spelled as in the original, byte by byte; what a move added goes.

    Raises PoolwardError where the file has changed so that they are not found.
    """
    text, before = _text(content), _text(original)
    for name in names:
        now, then = _spelling(text, service, name), _spelling(before, service, name)
        if now and then:
            text = text[: now.start] + then.text + text[now.end :]
        elif now:
            text = text[: text.rfind("\n", 0, now.start) + 1] + text[now.end :].partition("\n")[2]
        elif then:
            raise PoolwardError(f"{name} is not there any more.", "Put it back as it was before the move.")
    return original if text.rstrip("\r\n") == before.rstrip("\r\n") else text.encode()


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise PoolwardError("It is not UTF-8.", "Write it as UTF-8.") from None  # the error quotes the file


def _spelling(text: str, service: str, name: str) -> _Spelling | None:
    return _in_compose_file(text, service, name) if service else _in_env_file(text, name)


def _appended(text: str, service: str, name: str, value: str) -> str:
    """A variable that nothing sets yet, in a line at the end; where that is, only an env_file tells."""
    if service:
        raise PoolwardError(
            f"{name} is not written in `environment` of {service} itself.",
            f"Write {name} there with its value of today, docker compose up -d {service}, and run again.",
        )
    if not _HARMLESS.fullmatch(value):
        raise PoolwardError(f"{name} is not in the file.", "Write it there with its value of today, and run again.")
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{newline if text and text[-1] != chr(10) else ''}{name}={value}{newline}"


def _respelled(spelling: _Spelling, name: str, old: str, new: str) -> str:
    """The spelling of a value with those characters exchanged in which the two values differ."""
    pieces = list(_pieces(spelling))
    ways = _aligned(pieces, old)
    if not ways:
        raise PoolwardError(
            f"Its file and Docker Compose do not agree on {name}.",
            "Is it set in a second place, as an env_file beside `environment`? Set it in one.",
        )
    text = spelling.text
    differences = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for what, start, end, new_start, new_end in reversed(differences):
        if what == "equal":
            continue
        places = {_place(pieces, spans, start, end) for spans in ways}
        if len(places) > 1:
            raise PoolwardError(
                f"In {name} it cannot be told where the variables in its line end.",
                "Write the host, the port and the database so that nothing else in it looks like them.",
            )
        place = places.pop()
        if place is None or not _HARMLESS.fullmatch(new[new_start:new_end]):
            raise PoolwardError(
                f"What has to change in {name} is not written in its line: another variable or an escape is.",
                "Write the host, the port and the database themselves there, and run again.",
            )
        text = text[:place] + new[new_start:new_end] + text[place + end - start :]
    return text


def _place(pieces: list[tuple[int, str, bool]], spans: list[tuple[int, int]], start: int, end: int) -> int | None:
    """Where in the spelling this stretch of the value is; None where it is not written there literally."""
    for (at, _, opaque), (first, last) in zip(pieces, spans, strict=True):
        if not opaque and first <= start and end <= last:
            return at + start - first
    return None


def _pieces(spelling: _Spelling) -> Iterator[tuple[int, str, bool]]:
    """The spelling in pieces: where each begins, its text, and whether it stands for something else."""
    at = 0
    for found in re.finditer(spelling.opaque, spelling.text):
        if found.start() > at:
            yield at, spelling.text[at : found.start()], False
        yield found.start(), found[0], True
        at = found.end()
    if at < len(spelling.text) or not spelling.text:
        yield at, spelling.text[at:], False


def _aligned(pieces: list[tuple[int, str, bool]], value: str) -> list[list[tuple[int, int]]]:
    """Where in the value each piece is, with variables as short and as long as they can be; empty where it fits not."""
    found = []
    for anything in (".*?", ".*"):
        shown = [_shown(text, anything) if opaque else re.escape(text) for _, text, opaque in pieces]
        pattern = "".join(f"({one})" for one in shown)
        match = re.fullmatch(pattern, value, re.DOTALL)
        if match is None:
            return []
        found.append([match.span(group + 1) for group in range(len(pieces))])
    return found


def _shown(piece: str, anything: str) -> str:
    """What a piece may stand for: a doubled sign for one, an escape for a sign or itself, a variable for anything."""
    if piece in ("$$", "''"):
        return re.escape(piece[0])
    if piece.startswith("$"):
        return anything
    return re.escape(piece[1]) if re.fullmatch(r"\\[^\w]", piece) else ".{1,2}"


def _in_env_file(text: str, name: str) -> _Spelling | None:
    """The last assignment of a variable in an env_file; where that is no assignment after all, Compose will tell."""
    found = [match for match in _ASSIGNMENT.finditer(text) if match["name"] == name]
    if not found:
        return None
    value, start = found[-1]["value"], found[-1].start("value")
    quote = value[:1] if value[:1] in ("'", '"') else ""
    if not quote:
        bare = re.split(r"[ \t]+#", value, maxsplit=1)[0].rstrip()
        return _Spelling(start, start + len(bare), bare, _ENV_OPAQUE[""])
    closed = re.match(r"'([^']*)'" if quote == "'" else r'"((?:\\.|[^"\\])*)"', value)
    if closed is None:
        raise PoolwardError(f"{name} is written over several lines.", "Write it on one line.")
    return _Spelling(start + 1, start + closed.end() - 1, closed[1], _ENV_OPAQUE[quote])


def _in_compose_file(text: str, service: str, name: str) -> _Spelling | None:
    """A variable in `environment` of a service, in either of the two forms that has."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise PoolwardError("It is not YAML.", "docker compose config tells where.") from None  # the error quotes it
    path = [found := _entry(root, "services"), found := _entry(found, service), found := _entry(found, "environment")]
    if found is None:
        return None
    if isinstance(found, yaml.SequenceNode):
        nodes = [one for one in found.value if isinstance(one, yaml.ScalarNode) and one.value.startswith(f"{name}=")]
        node: yaml.Node | None = nodes[-1] if nodes else None
        prefix = f"{name}="
    else:
        node, prefix = _entry(found, name), ""
    if root is None or not isinstance(node, yaml.ScalarNode):
        return None
    if _is_shared(root, [*path, node]):
        raise PoolwardError(
            f"{name} stands behind an anchor that other services use, too.", f"Write it in `environment` of {service}."
        )
    quote = node.style or ""
    start, end = node.start_mark.index + len(quote), node.end_mark.index - len(quote)
    spelled = text[start:end]
    if quote not in _YAML_OPAQUE or "\n" in spelled or not spelled.startswith(prefix):
        raise PoolwardError(f"{name} is not written on one line.", "Write it in double quotes, on one line.")
    return _Spelling(start + len(prefix), end, spelled[len(prefix) :], _YAML_OPAQUE[quote])


def _entry(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _is_shared(root: yaml.Node, path: Iterable[yaml.Node | None]) -> bool:
    """Whether any of these nodes is used in more than one place."""
    uses: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        uses[id(node)] = uses.get(id(node), 0) + 1
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        for one in node.value:
            waiting += one if isinstance(one, tuple) else (one,)
    return any(uses.get(id(node), 0) > 1 for node in path)
