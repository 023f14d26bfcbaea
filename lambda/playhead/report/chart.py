"""Small charts: a line of the values of a measure beside what is allowed, as an SVG path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from playhead.checks.readings import Standing
from playhead.report.words import figure, plain

HEIGHT = 100
"""Of the drawing; its width is one for each value."""

SHOWN = 90
"""So many of the newest values are drawn."""

_MARGIN = 6


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A line and what it says.

    Attributes:
        width: of the drawing.
        line: SVG path of the values; what was not measured is a gap.
        last: SVG path of the newest value; empty when there is none.
        limit: height of what is allowed; None when no number says so.
        label: the chart in words.
        values: what is drawn, with its moments, the oldest first.
    """

    width: int
    line: str
    last: str
    limit: int | None
    label: str
    values: tuple[tuple[datetime, float | None], ...]


def chart_of(standing: Standing) -> Chart | None:
    """The chart of a measure's history; None of fewer than two values."""
    values = standing.before[-SHOWN:]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    reading = standing.reading
    # The sign of what is allowed follows the value: a shift may be down as well as up.
    down = (reading.value or 0) < 0 < (reading.allowed or 0)
    allowed = -reading.allowed if down and reading.allowed is not None else reading.allowed
    low, high = _range([*known, *([] if allowed is None else [allowed])])

    def height(value: float) -> int:
        return round(HEIGHT - _MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * _MARGIN))

    newest = values[-1]
    return Chart(
        width=len(values) - 1,
        line=_line([None if value is None else height(value) for value in values]),
        last="" if newest is None else f"M{len(values) - 1} {height(newest)}h0",
        limit=None if allowed is None else height(allowed),
        label=_label(standing, known, len(values)),
        values=tuple(zip(standing.moments[-SHOWN:], values, strict=True)),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if high > low else (low, low + 1.0)


def _line(heights: Sequence[int | None]) -> str:
    """
    >>> _line([90, 10, None, 50])
    'M0 90L1 10M3 50'
    """
    before = [None, *heights[:-1]]
    return "".join(
        f"{'M' if earlier is None else 'L'}{place} {height}"
        for place, (earlier, height) in enumerate(zip(before, heights, strict=True))
        if height is not None
    )


def _label(standing: Standing, known: Sequence[float], count: int) -> str:
    reading = standing.reading
    allowed = "" if reading.allowed is None else f"; allowed {figure(reading.allowed)}"
    return (
        f"{plain(reading.measure)} of {reading.subject}, {count} values from {figure(min(known))} to "
        f"{figure(max(known))}; last {figure(reading.value)}{allowed}"
    )
