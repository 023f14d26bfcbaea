"""Windows of calendar days, as relations: events → partials of a day → numbers of the last N days at each day's end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import ibis
import ibis.expr.types as ir

from playhead.declare import Dimension
from playhead.dimensions import enriched
from playhead.expressions import resolve
from playhead.gathered import day_texts, value_text
from playhead.nodes import Measure
from playhead.plan import DailyPlan
from playhead.relations import in_schema, placed
from schemas.tables import lake_ibis_schema

DAY = timedelta(days=1)
END_MS = "end_ms"
_SEEN = "seen_since"


def end_of(day: date) -> datetime:
    """The end of a UTC day, which is the next midnight.

    >>> end_of(date(2018, 11, 30)).isoformat()
    '2018-12-01T00:00:00+00:00'
    """
    return datetime.combine(day + DAY, time.min, UTC)


def end_ms_of(day: date) -> int:
    """The same in epoch milliseconds."""
    return int(end_of(day).timestamp()) * 1000


def begin_ms_of(day: date) -> int:
    """The first millisecond of a UTC day, epoch milliseconds."""
    return end_ms_of(day - DAY)


def dated_events() -> ir.Table:
    """The master data with its partition column: `dt` is the event's UTC day."""
    return ibis.table({**lake_ibis_schema(), "dt": "string"}, name="events")


@dataclass(frozen=True, kw_only=True)
class PartialTable:
    """Partials of the measures per day and entity: `lake/daily/<name>`.

    Attributes:
        keys: event columns; an event without one of them is left out.
        labels: event columns that only tell rows apart and may be null.
    """

    name: str
    keys: tuple[str, ...]
    labels: tuple[str, ...] = ()
    measures: tuple[Measure, ...]
    dimensions: tuple[Dimension, ...] = ()

    @classmethod
    def of(cls, plan: DailyPlan) -> PartialTable:
        """The partials of a declared group. Every entity of the day has a row, also when nothing matches."""
        return cls(name=plan.name, keys=(plan.key,), measures=plan.measures, dimensions=plan.dimensions)

    def rows(self, events: ir.Table) -> ir.Table:
        """`dt`, keys, labels, and each measure, of sums never null: one row per day, keys and labels."""
        events = enriched(events, self.dimensions)
        for key in self.keys:
            events = events.filter(events[key].notnull())
        group = ("dt", *self.keys, *self.labels)
        own = events.select(*group, **{m.name: _contribution(m, events) for m in self.measures})
        rows = own.group_by(*group).agg(**{m.name: getattr(own[m.name], m.combined)() for m in self.measures})
        return day_texts(rows, {m.name: m.how for m in self.measures if m.combined == "collect"})

    @property
    def columns(self) -> dict[str, str]:
        """Column to ibis type."""
        return dict.fromkeys(("dt", *self.keys, *self.labels), "string") | {m.name: str(m.kind) for m in self.measures}


def _contribution(measure: Measure, events: ir.Table) -> ir.Value:
    if measure.kind.is_integer():
        return measure.contribution(events)
    value = resolve(measure.value, events)
    text = value_text(value, measure.how) if measure.combined == "collect" else placed(events, value.cast("string"))
    return ibis.ifelse(measure.matches(events) & value.notnull(), text, measure.nothing)


@dataclass(frozen=True)
class BatchDays:
    """The days to make, and the longest window in days."""

    days: tuple[date, ...]
    longest: int
    published: tuple[date, ...] = ()
    """Days that were published before, in order."""

    @property
    def window_days(self) -> list[date]:
        """The days whose partials are in a window, in order."""
        return sorted({day - n * DAY for day in self.days for n in range(self.longest)})

    def seen_since(self, day: date) -> date:
        """The first day from which an entity of this day's view comes.

        An entity that was in the view of the day made before has a row in this one: when its last partial has fallen
        out of the longest window meanwhile, that row is what says 0 to whoever looks later.
        """
        before = [d for d in (*self.published, *self.days) if d < day]
        return min(max(before, default=day), day) - (self.longest - 1) * DAY

    @property
    def earliest(self) -> date:
        """The first day whose partials are read."""
        return min(self.seen_since(day) for day in self.days)

    def rows(self, lengths: Iterable[int]) -> list[dict[str, str | int]]:
        """One row per day, in the columns of `days_table`."""
        return [
            {
                "dt": day.isoformat(),
                END_MS: end_ms_of(day),
                _SEEN: self.seen_since(day).isoformat(),
                **{_since(n): (day - (n - 1) * DAY).isoformat() for n in sorted(set(lengths))},
            }
            for day in self.days
        ]


def days_table(lengths: Iterable[int]) -> ir.Table:
    """The batch days: `dt`, its end, and the first day of each window. ISO dates compare as text."""
    since = {_since(n): "string" for n in sorted(set(lengths))}
    return ibis.table({"dt": "string", END_MS: "int64", _SEEN: "string", **since}, name="days")


def windows(
    partials: ir.Table,
    days: ir.Table,
    keys: Sequence[str],
    sums: Iterable[tuple[str, str, int]],
    extremes: Iterable[Measure] = (),
) -> ir.Table:
    """Sums over the last days; of those measures that are extremes, extremes.

    Args:
        partials: `dt`, keys, measures.
        days: as of `days_table`.
        keys: what a row is about.
        sums: (column, measure, number of days): the days up to and including the batch day.
        extremes: which of the measures are, and how.

    Returns:
        One row per batch day and entity seen: `dt`, `end_ms`, the keys, the sums (int64, 0 without partials) and
        extremes (null without a value).
    """
    dated = partials.rename(partial_dt="dt").join(days, [partials.dt >= days[_SEEN], partials.dt <= days.dt])
    how = {measure.name: measure.how for measure in extremes}
    nothing = {measure.name: measure.nothing for measure in extremes}
    zero = ibis.literal(0, "int64")
    inside = {}
    for name, measure, n in sums:
        held = ibis.ifelse(dated.partial_dt >= dated[_since(n)], dated[measure], nothing.get(measure, zero))
        inside[name] = getattr(held, how.get(measure, "sum"))()
    return dated.group_by("dt", END_MS, *keys).agg(**inside)


def view_rows(plan: DailyPlan, partials: ir.Table) -> ir.Table:
    """The rows of a declared view, `dt` and `end_ms` first, then the key and the plan's `numbers` as the day ended."""
    extremes = [measure for measure in plan.measures if measure.how != "sum"]
    shown = [window for window in plan.windows if window[0] in plan.numbers]
    rows = windows(partials, days_table(lengths_of(plan)), [plan.key], shown, extremes)
    values = in_schema(plan, {name: rows[name] for name, _, _ in shown}, plan.numbers)
    return rows.select("dt", END_MS, plan.key, **values)


def lengths_of(plan: DailyPlan) -> list[int]:
    """Lengths of the plan's windows, in days."""
    return [count for _, _, count in plan.windows]


def _since(count: int) -> str:
    return f"since_{count}d"
