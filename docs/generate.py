"""Writes docs/settings.md from the table of settings, and docs/bills.md: `python -m docs.generate`."""

from __future__ import annotations

from pathlib import Path

from docs import bills
from poolward.catalogue import OLDEST, SECTIONS, Setting, Version, Word, table

PAGE = Path(__file__).with_name("settings.md")
SHOWN = (Version(1, 18), Version(1, 24, 1), Version(1, 26, 1))

INTRODUCTION = """\
# PgBouncer's settings, 1.18 to 1.26

Generated from `poolward/settings.csv` by `python -m docs.generate`; a test keeps the two the same. Names, units and
defaults are PgBouncer's own. A default that changed is shown for 1.18 (Debian 12), 1.24.1 (Debian 13) and 1.26.1. A key
that a version does not know is fatal to that PgBouncer, so Poolward refuses it beforehand, with both versions named.

`[pgbouncer]` is `pgbouncer_settings` in group data, `[databases]` is `pgbouncer_databases`, `[users]` is
`pgbouncer_users`; `peer_id` and `[peers]` are made of `pgbouncer_peers`. "reload" keeps clients connected;
"restart" cuts them once.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for section in ("pgbouncer", *(name for name in SECTIONS if name != "pgbouncer")):
        rows = [setting for setting in table().values() if setting.section == section]
        parts.append(f"\n## [{section}]\n\n| setting | type | legal | default | versions | change by | notes |")
        parts.append("|---|---|---|---|---|---|---|")
        parts += [_row(setting) for setting in sorted(rows, key=lambda setting: setting.name)]
    return "\n".join(parts) + "\n"


def _row(setting: Setting) -> str:
    unit = f", {setting.unit}" if setting.unit else ""
    cells = (
        f"`{setting.name}`",
        f"{setting.type}{unit}",
        ", ".join(_word(word) for word in setting.legal),
        _default(setting),
        _versions(setting),
        setting.change,
        ". ".join(part for part in (_refused(setting), setting.notes) if part),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting) -> str:
    known = [
        version for version in SHOWN if version >= setting.since and not (setting.until and version >= setting.until)
    ]
    values = [setting.default_in(version) or "(none)" for version in known]
    if len(set(values)) <= 1:
        return f"`{values[0]}`" if values else ""
    return ", ".join(f"`{value}` ({version})" for value, version in zip(values, known, strict=True))


def _versions(setting: Setting) -> str:
    since = f"{setting.since}+" if setting.since > OLDEST else "all"
    until = f", until {setting.until}" if setting.until else ""
    names = {word.text for word in setting.written}
    written = f"; older name: {', '.join(sorted(names - {setting.name}))}" if names - {setting.name} else ""
    return since + until + written


def _word(word: Word) -> str:
    return f"not {word.text[1:] or 'empty'}" if word.text.startswith("!") else str(word)


def _refused(setting: Setting) -> str:
    return f"**Not taken**: {setting.refused}" if setting.refused else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    bills.PAGE.write_text(bills.page(), encoding="utf-8")
