"""`poolward report`: exit codes, and where the page goes. No host is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STOPPED, ENDED = sorted((REPOSITORY / "tests" / "unit" / "journals").glob("*.jsonl"))


def report(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("poolward")), "report", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("journals", "code", "verdict"), [([STOPPED, ENDED], 0, "Done: 8 services moved"), ([STOPPED], 2, "Not done: 2")]
)
def test_the_exit_code_says_whether_something_is_left(
    journals: list[Path], code: int, verdict: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    run = report(*journals, "--output", page)
    assert run.returncode == code
    assert verdict in run.stdout
    assert run.stdout.endswith(f"The page for the change ticket: {page}\n")
    assert page.read_text().endswith("</html>\n")


def test_one_json_document_for_machines(tmp_path: Path) -> None:
    run = report(STOPPED, "--json", "--output", tmp_path / "page.html")
    assert run.returncode == 2
    document = json.loads(run.stdout)
    assert (document["clean"], document["left"][0]) == (False, "worker")
    results = {move["service"]: move["result"] for move in document["runs"][0]["moves"]}
    assert results == {"webhook_receiver": "moved", "ingest_worker": "moved", "dashboard_api": "taken back"}


@pytest.mark.parametrize("arguments", [[], ["missing.jsonl"], ["README.md"], [STOPPED, "--output", STOPPED]])
def test_what_cannot_be_told_is_an_error(arguments: list[object]) -> None:
    run = report(*arguments)
    assert run.returncode == 1
    assert run.stderr
    assert not (REPOSITORY / "README.html").exists()
