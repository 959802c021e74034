"""Searching for secrets: the forms one can take on its way, and every place where a run might leave one."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from lab import recorder
from lab.docker import docker
from lab.process_sampler import ProcessSampler
from lab.topology import REPOSITORY, Lab
from tests.lab.support import on, psql

AWKWARD = "'q\" %s $HOME `id` \\b {{x}} &;#= ünï"
"""What a secret ends with, to show every place that does not quote."""
PLACES = "/etc /var /tmp /run /dev/shm /home /root /opt /srv /usr/local"


@dataclass(frozen=True)
class File:
    """A file that holds secrets: who may read it (mode, owner and group), and which ones."""

    path: str
    access: str
    names: frozenset[str]


def forms(secret: str) -> set[str]:
    """The secret as it is, and as quoting, escaping and encoding along the way would write it."""
    once, json_text = _in_shell(secret), json.dumps(secret)[1:-1]
    found = {secret, once, _in_shell(once), _in_shell(_in_shell(once)), secret.replace("'", "'\\''")}
    found |= {secret.replace("'", "''"), secret.replace("\\", "\\\\").replace("'", "''")}  # SQL, E'…'
    found |= {secret.replace("\\", "\\\\").replace("'", "\\'")}  # libpq's keywords, psql's \set
    found |= {secret.replace('"', '""')}  # userlist.txt
    found |= {"".join(f"\\{sign}" if sign in '\\"$`' else sign for sign in secret)}  # within double quotes
    found |= {json_text, json.dumps(secret, ensure_ascii=False)[1:-1], _in_shell(json_text), repr(secret)[1:-1]}
    found |= {quote(secret, safe=""), quote(secret), quote_plus(secret), secret.encode().hex()}
    return found | _base64(secret.encode())


def named(secrets: Mapping[str, str], text: str) -> set[str]:
    """The names of the secrets that stand in a text in any form."""
    return {name for name, secret in secrets.items() if any(form in text for form in forms(secret))}


def in_texts(secrets: Mapping[str, str], texts: Iterable[str]) -> set[str]:
    return named(secrets, "\0".join(texts))


def in_command_lines(secrets: Mapping[str, str], host: str) -> set[str]:
    """What the host's sshd was asked to run since the recorder's last reset."""
    return in_texts(secrets, recorder.commands(host))


def in_processes(secrets: Mapping[str, str], sampler: ProcessSampler) -> set[str]:
    return in_texts(secrets, sampler.samples)


def in_journal(secrets: Mapping[str, str], lab: Lab, host: str, since: str) -> set[str]:
    """All units and all fields: sudo writes whole command lines there, PgBouncer its log."""
    command = ("journalctl", "--all", "--output=export", "--no-pager", f"--since={since}")
    return named(secrets, docker("exec", lab.container(host), *command))


def in_statements(secrets: Mapping[str, str], lab: Lab) -> set[str]:
    return named(secrets, psql(lab, "SELECT query FROM pg_stat_statements"))


def in_files(secrets: Mapping[str, str], lab: Lab, host: str) -> set[File]:
    """Every file on a host that holds one. The patterns come by standard input, so that the search leaves no trace."""
    script = f"""
        command -v grep >/dev/null
        LC_ALL=C grep -rlaFf - {PLACES} 2>/dev/null | while read -r path; do
            stat -c '%a %U %G %n' "$path"
        done
    """
    patterns = "\n".join(sorted({form for secret in secrets.values() for form in forms(secret)}))
    command = ("exec", "-i", lab.container(host), "sh", "-euc", script)
    rows = (line.split(" ", 3) for line in docker(*command, stdin=patterns).splitlines())
    return {
        File(path, f"{mode} {owner} {group}", frozenset(named(secrets, on(lab, host, f"cat {shlex.quote(path)}"))))
        for mode, owner, group, path in rows
    }


def in_clone(secrets: Mapping[str, str]) -> set[str]:
    """The files of this clone that hold one, generated and ignored ones too."""
    skipped = (".git", ".venv")
    paths = (path for path in REPOSITORY.rglob("*") if path.relative_to(REPOSITORY).parts[0] not in skipped)
    texts = {path: path.read_bytes().decode(errors="replace") for path in paths if path.is_file()}
    return {str(path) for path, text in texts.items() if named(secrets, text)}


def _in_shell(text: str) -> str:
    """What `shlex.quote` makes of it when it stands between other quoted text."""
    return text.replace("'", "'\"'\"'")


def _base64(secret: bytes) -> set[str]:
    """Its base64 in the middle of anything: three alignments, without the characters its neighbours decide."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).rstrip(b"=").decode()
        first = (before * 8 + 5) // 6
        whole = (before + len(secret)) * 8 // 6
        found |= {encoded[first:whole], encoded[first:whole].replace("+", "-").replace("/", "_")}
    return found
