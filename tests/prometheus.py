"""What the tests ask Prometheus's own tools, and what its files say."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from playhead.config import PROJECT

RULES = PROJECT / "docker" / "prometheus" / "alerts.yaml"
RULE_TESTS = RULES.with_name("alerts.test.yaml")
DASHBOARDS = sorted((PROJECT / "docker" / "grafana").glob("*.json"))

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}


def promtool(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool, with a text as its input."""
    return subprocess.run(
        [_promtool(), *map(str, arguments)], input=given, capture_output=True, text=True, check=False, cwd=RULES.parent
    )


@functools.cache
def _promtool() -> str:
    done = subprocess.run([PROJECT / "scripts" / "promtool"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def alerts() -> dict[str, Any]:
    """Alert to its rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries() -> dict[str, str]:
    """`dashboard: panel: letter` to its query."""
    return {
        f"{file.stem}: {panel['title']}: {target['refId']}": target["expr"]
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    }


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names.

    >>> sorted(metrics_in('sum by (a) (rate(up_total{job=~"x|y"}[5m])) > on(instance) 0.01 * time() - other'))
    ['other', 'up_total']
    """
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    return {name for name in re.findall(r"\b[a-z_][A-Za-z0-9_]*\b(?!\s*\()", bare) if name not in _WORDS}


_WORDS = {"or", "and", "unless", "bool", "offset"}


def names_of(text: str) -> set[str]:
    """The names that Prometheus has for what a text in its format says, those too that have no sample yet."""
    families = list(text_string_to_metric_families(text))
    return {name for family in families for name in _names(family.name, family.type)} | {
        sample.name for family in families for sample in family.samples
    }


def _names(name: str, kind: str) -> Iterable[str]:
    return (f"{name.removesuffix('_total')}{suffix}" for suffix in _SUFFIXES.get(kind, ("",)))


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Name and labels to value."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
