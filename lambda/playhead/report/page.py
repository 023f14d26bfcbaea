"""The page: one HTML file that needs nothing else, made from the facts."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from playhead.errors import InputError
from playhead.report import picture, tables
from playhead.report.facts import Facts
from playhead.report.problems import problems_of

_NO_VALUE = "—"
_SHOWN_DAYS = 14
_SHOWN_VERDICTS = 20
_SEPARATOR = re.compile(r"([_/.:])(?=\w)")
_SECTIONS = (
    ("counts", "Counts"),
    ("freshness", "Freshness"),
    ("days", "Days"),
    ("dead-letters", "Dead letters"),
    ("quality", "Quality"),
    ("skew", "Skew"),
    ("training", "Training sets"),
    ("sessions", "Sessions"),
    ("stages", "Last runs"),
    ("declared", "Groups and services"),
    ("stack", "Stack"),
)


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
        draft.write_text(render(facts), encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}", hint="--output says where") from error
    finally:
        if target.parent.is_dir():
            draft.unlink(missing_ok=True)
    return output


def render(facts: Facts) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "utc": utc, "age": lambda at: age(at, facts.made_at)}
    environment.filters |= {"codes": codes, "soft": soft}
    problems = problems_of(facts)
    events = facts.lake.events
    newest = events.newest if events else None
    return environment.get_template("report.html.j2").render(
        facts=facts,
        problems=problems,
        picture=picture.draw(facts, {problem.stage for problem in problems}),
        box=(picture.WIDTH, picture.HEIGHT),
        event_times=list(tables.event_times(facts)),
        processing_times=list(tables.processing_times(facts)),
        behind=lambda at: span(max(newest - at, timedelta())) if newest else _NO_VALUE,
        days=tables.days_of(facts),
        shown_days=_SHOWN_DAYS,
        suites=tables.suites_of(facts),
        failing=[verdict for verdict in facts.stages.quality if verdict.failures],
        shown_verdicts=_SHOWN_VERDICTS,
        skew_tables=list(tables.skew_tables(facts)),
        unchecked=tables.unchecked(facts),
        runs=tables.runs_of(facts),
        sections=_SECTIONS,
    )


def to_json(facts: Facts) -> str:
    """The facts and what is wrong, as a JSON object; times are ISO 8601."""
    found = {"problems": [asdict(problem) for problem in problems_of(facts)], **asdict(facts)}
    return json.dumps(found, default=_plain, indent=2)


def number(value: float | None) -> str:
    """With thousands separators.

    >>> number(1234567), number(None), number(0.25)
    ('1,234,567', '—', '0.2')
    """
    if value is None:
        return _NO_VALUE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def utc(at: datetime) -> str:
    """To the second.

    >>> from datetime import UTC
    >>> utc(datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC))
    '2026-03-04 05:06:07'
    """
    return f"{at:%Y-%m-%d %H:%M:%S}"


def age(at: datetime, now: datetime) -> str:
    """How long ago, or in how long.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    >>> age(noon, noon + timedelta(minutes=3)), age(noon, noon), age(noon, noon - timedelta(hours=2))
    ('3 min ago', 'now', 'in 2 h')
    """
    passed = now - at
    if abs(passed) < timedelta(seconds=1):
        return "now"
    return f"{span(passed)} ago" if passed > timedelta() else f"in {span(-passed)}"


def span(length: timedelta) -> str:
    """In one unit, of which there are at least two.

    >>> span(timedelta(seconds=90)), span(timedelta(hours=47)), span(timedelta(days=-3)), span(timedelta(days=2922))
    ('90 s', '47 h', '-3 days', '8 years')
    """
    sign, seconds = ("-", -length.total_seconds()) if length < timedelta() else ("", length.total_seconds())
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{sign}{int(seconds // size):,} {unit}"
    return f"{sign}{int(seconds)} s"


def codes(text: str) -> Markup:
    """HTML of a text in which commands stand between backticks.

    >>> codes("`a<b` runs")
    Markup('<code>a&lt;b</code> runs')
    """
    parts = enumerate(text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else soft(part) for place, part in parts)


def soft(name: str) -> Markup:
    """HTML of a name that may be broken behind its separators.

    >>> soft("skip_rate")
    Markup('skip_<wbr>rate')
    """
    return Markup(_SEPARATOR.sub("\\1<wbr>", str(escape(name))))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
