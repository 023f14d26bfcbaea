"""Code in `docs/` and in the README does what the text says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playhead.config import PROJECT

MARKED = re.compile(r"<!-- run by tests/test_docs.py -->\n```python\n(.*?)```", re.DOTALL)
PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), PROJECT / "README.md", PROJECT / "benchmarks" / "README.md"]
BLOCKS = [(page, code) for page in PAGES for code in MARKED.findall(page.read_text())]


def test_some_code_is_run() -> None:
    assert BLOCKS


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_marked_code_runs(page: Path, code: str) -> None:
    exec(compile(code, str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
