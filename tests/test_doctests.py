"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from playhead.config import PROJECT

ROOTS = {"playhead": PROJECT / "lambda", "schemas": PROJECT, "features": PROJECT, "benchmarks": PROJECT}
FILES = [
    (root, file)
    for package, root in ROOTS.items()
    for file in sorted((root / package).rglob("*.py"))
    if ">>> " in file.read_text()
]


@pytest.mark.parametrize(("root", "file"), FILES, ids=lambda path: path.stem)
def test_examples(root: Path, file: Path) -> None:
    name = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
