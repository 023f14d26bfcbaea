"""The page: one HTML document that needs nothing else, made from the facts."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from playhead.checks.readings import Standing
from playhead.errors import InputError
from playhead.report import batch_days, drift, picture, tables, told, words
from playhead.report.facts import Facts
from playhead.report.problem import Problem
from playhead.report.problems import problems_of

DATA_DOCS = Path("data-docs", "index.html")
"""In the home: what the quality gate writes for people, where it has."""

_SHOWN_DAYS = 14
_SHOWN_LABELS = 7
_SHOWN_VERDICTS = 20
_SHOWN_ITEMS = 5
_SHOWN_CHARTS = 9
_TEMPLATES = Path(__file__).with_name("templates")
_SECTIONS = (
    ("freshness", "Freshness"),
    ("counts", "Counts"),
    ("dead-letters", "Dead letters"),
    ("quality", "Quality"),
    ("skew", "Skew"),
    ("drift", "Drift"),
    ("days", "Batch calendar"),
    ("lineage", "Lineage"),
    ("training", "Labels and training"),
    ("sessions", "Sessions"),
    ("stages", "Last runs"),
    ("checks", "Checks"),
    ("declared", "Groups and services"),
    ("stack", "Stack"),
)


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where the page leads to beside itself. None: there is no such thing.

    Attributes:
        again: where the page is made anew.
        facts: what it shows, as JSON.
        metrics: for Prometheus.
        data_docs: what the quality gate found, in full.
    """

    again: str | None = None
    facts: str | None = None
    metrics: str | None = None
    data_docs: str | None = None


def write_page(facts: Facts, output: Path) -> Path:
    """Write the page; a file that is there is replaced whole.

    Raises:
        InputError: the folder is not there, or the file cannot be written.
    """
    target = output.resolve()
    if not target.parent.is_dir():
        raise InputError(f"{output}: there is no folder {target.parent}", hint="--home says where the home is")
    if target.exists() and not target.is_file():
        raise InputError(f"{output}: is not a file")
    draft = target.with_name(f".{target.name}.draft")
    try:
        draft.write_text(render(facts, Links(data_docs=_data_docs(facts, target.parent))), encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}", hint="--output says where") from error
    finally:
        if target.parent.is_dir():
            draft.unlink(missing_ok=True)
    return output


def render(facts: Facts, links: Links | None = None) -> str:
    """The page as HTML."""
    problems = problems_of(facts)
    template = _environment().get_template("report.html.j2")
    return template.render(
        facts=facts,
        problems=problems,
        links=links or Links(),
        sections=_sections(problems),
        css=Markup(_css()),
        policy=content_policy(),
        by_view=tables.by_view,
        **_status(facts, problems),
        **_time(facts),
        **_checks(facts),
    )


@functools.cache
def content_policy() -> str:
    """The Content-Security-Policy of the page: nothing is loaded, nothing runs, and only its own style is applied."""
    digest = base64.b64encode(hashlib.sha256(_css().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


@functools.cache
def _css() -> str:
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "utc": words.utc,
        "minute": words.minute,
        "age": _age,
        "codes": words.codes,
    }
    environment.filters |= {"soft": words.soft, "figure": words.figure, "measured": _measured, "plain": words.plain}
    return environment


@pass_context
def _age(context: Context, at: datetime) -> str:
    facts: Facts = context["facts"]
    return words.age(at, facts.made_at)


def _measured(value: float | None, measure: str) -> str:
    return words.measured(measure, value)


def _sections(problems: tuple[Problem, ...]) -> list[tuple[str, str, int]]:
    """Section, its name, and how many problems lead there."""
    return [(id_, name, sum(each.section == id_ for each in problems)) for id_, name in _SECTIONS]


def _status(facts: Facts, problems: tuple[Problem, ...]) -> dict[str, Any]:
    return {
        "picture": picture.draw(facts, {problem.stage for problem in problems}),
        "box": (picture.WIDTH, picture.HEIGHT),
        "unchecked": tables.unchecked(facts),
        "section_names": dict(_SECTIONS),
        "shown_items": _SHOWN_ITEMS,
        "sources": tables.sources_of(facts),
    }


def _time(facts: Facts) -> dict[str, Any]:
    newest = facts.lake.events.newest if facts.lake.events else None
    found = batch_days.calendar_of(facts)
    return {
        "event_times": list(tables.event_times(facts)),
        "processing_times": list(tables.processing_times(facts)),
        "behind": lambda at: words.span(max(newest - at, timedelta())) if newest else words.NO_VALUE,
        "days": tables.days_of(facts),
        "shown_days": _SHOWN_DAYS,
        "calendar": found,
        "weekdays": batch_days.WEEKDAYS,
        "meaning": batch_days.MEANING,
        "notable": found.notable if found else (),
        "labelled": tables.labelled_days(facts, _SHOWN_LABELS),
        "runs": tables.runs_of(facts),
    }


def _checks(facts: Facts) -> dict[str, Any]:
    views, checks = drift.drift_views(facts), tables.checks_of(facts)
    readings: dict[str, tuple[Standing, ...]] = dict.fromkeys(told.SECTIONS, ())
    return {
        "suites": tables.suites_of(facts),
        "suite_days": tables.suite_days(facts, _SHOWN_DAYS),
        "failing": [verdict for verdict in facts.stages.quality if verdict.failures],
        "shown_verdicts": _SHOWN_VERDICTS,
        "skew_tables": list(tables.skew_tables(facts)),
        "drift_views": views,
        "drifted": drift.drifted(views),
        "shown_charts": _SHOWN_CHARTS,
        "checks": checks,
        "other_checks": tables.without_section(checks),
        "readings": readings | {each.check: each.readings for each in checks},
    }


def _data_docs(facts: Facts, folder: Path) -> str | None:
    """Where they are, seen from the page's folder."""
    there = Path(facts.home) / DATA_DOCS
    return Path(os.path.relpath(there, folder)).as_posix() if there.is_file() else None


def to_json(facts: Facts) -> str:
    """The facts and what is wrong, as a JSON object; times are ISO 8601."""
    # The history of each is long, and in the lake.
    standings = tuple(replace(each, before=(), moments=()) for each in facts.standings)
    found = {"problems": [asdict(each) for each in problems_of(facts)], **asdict(replace(facts, standings=standings))}
    return json.dumps(found, default=_plain, indent=2)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
