"""Code in `docs/` and in the README does what the text says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from playhead.config import PROJECT
from playhead.declare import SUPPORTED, Attribute, Days, LatestEvents, Lifetime, Session, Sliding

MARKED = re.compile(r"<!-- run by tests/test_docs.py -->\n```python\n(.*?)```", re.DOTALL)
PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), PROJECT / "README.md", PROJECT / "benchmarks" / "README.md"]
BLOCKS = [(page, code) for page in PAGES for code in MARKED.findall(page.read_text())]


SUPPORT = PROJECT / "docs" / "support.md"
WINDOWS: Mapping[type, str] = {
    Sliding: "sliding",
    Lifetime: "lifetime",
    LatestEvents: "latest",
    Session: "session",
    Days: "days",
}


def support() -> str:
    """The table of `docs/support.md`, from what declarations are checked against."""
    lines = ["| | " + " | ".join(WINDOWS.values()) + " |", "|---|" + "---|" * len(WINDOWS)]
    for aggregate, windows in SUPPORTED.items():
        if aggregate is Attribute:  # no engine's: its rows are there
            continue
        cells = ["Flink, Spark, DuckDB" if window in windows else "—" for window in WINDOWS]
        lines.append(f"| `{aggregate.__name__}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_support_matrix_is_what_is_checked() -> None:
    text = SUPPORT.read_text()
    before, table, after = re.split(r"((?:^\|.*\n)+)", text, maxsplit=1, flags=re.MULTILINE)
    if os.environ.get("GOLDEN") == "write":
        SUPPORT.write_text(f"{before}{support()}\n{after}")
        table = f"{support()}\n"
    assert table == f"{support()}\n", "meant? then `make golden`"


def test_some_code_is_run() -> None:
    assert BLOCKS


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_marked_code_runs(page: Path, code: str) -> None:
    exec(compile(code, str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
