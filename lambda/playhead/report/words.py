"""Numbers, times and names as the page words them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup, escape

NO_VALUE = "—"

_SEPARATOR = re.compile(r"([_/.:])(?=\w)")
_SECONDS = {"_ms": 0.001, "_s": 1.0}
_FEWEST_DIGITS = 1e-4
_NAMED = 3


def number(value: float | None) -> str:
    """With thousands separators.

    >>> number(1234567), number(None), number(0.25)
    ('1,234,567', '—', '0.2')
    """
    if value is None:
        return NO_VALUE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def utc(at: datetime) -> str:
    """To the second.

    >>> from datetime import UTC
    >>> utc(datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC))
    '2026-03-04 05:06:07'
    """
    return f"{at:%Y-%m-%d %H:%M:%S}"


def minute(at: datetime) -> str:
    """To the minute; a day that begins is its date.

    >>> from datetime import UTC
    >>> minute(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)), minute(datetime(2026, 3, 4, tzinfo=UTC))
    ('2026-03-04 05:06', '2026-03-04')
    """
    return f"{at:%Y-%m-%d}" if at == at.replace(hour=0, minute=0, second=0, microsecond=0) else f"{at:%Y-%m-%d %H:%M}"


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


def named(names: Sequence[str]) -> str:
    """The first few, and how many more.

    >>> named(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


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


def figure(value: float | None) -> str:
    """A measured value: whole numbers whole, others to three digits.

    >>> figure(1234567.0), figure(0.31249), figure(-12.345), figure(0.00001), figure(None)
    ('1,234,567', '0.312', '-12.3', '1e-05', '—')
    """
    if value is None:
        return NO_VALUE
    if float(value).is_integer():
        return f"{value:,.0f}"
    if abs(value) < _FEWEST_DIGITS:
        return f"{value:.3g}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def measured(measure: str, value: float | None) -> str:
    """A measured value in the unit that the name of its measure ends in.

    >>> measured("lag_s", 150.0), measured("p99_ms", 4.25), measured("psi", 0.31249)
    ('150 s', '4.25 ms', '0.312')
    >>> measured("age_s", 7_300.0)
    '2 h'
    """
    unit = _unit(measure)
    if value is None or unit is None:
        return figure(value)
    seconds = value * _SECONDS[unit]
    return span(timedelta(seconds=seconds)) if abs(seconds) >= 180 else f"{figure(value)} {unit[1:]}"


def plain(measure: str) -> str:
    """The name of a measure without its unit; what it is of stands in brackets.

    >>> plain("lag_s"), plain("null_rise(track_id)"), plain("p99_ms")
    ('lag', 'null rise of track_id', 'p99')
    """
    name, _, part = measure.partition("(")
    words = name.removesuffix(_unit(name) or "").replace("_", " ")
    return f"{words} of {part.removesuffix(')')}" if part else words


def _unit(measure: str) -> str | None:
    return next((suffix for suffix in _SECONDS if measure.endswith(suffix)), None)
