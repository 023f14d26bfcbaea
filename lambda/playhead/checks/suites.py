"""Suites that are derived: from the rules beside the message's fields, from declarations, from a manifest.

What a valid event is stands in `playback.proto`; the suite of the events is derived from there, so the decoder and the
gate cannot disagree. Those that a user writes come after: `more`, see `hand_written`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ibis.expr.operations as ops

from playhead.checks import hours
from playhead.checks.quality import MOMENT_MS, Suite
from playhead.declare import Dimension
from playhead.expressions import resolve
from playhead.nodes import Measure
from playhead.objectives import CheckSettings
from playhead.plan import DailyPlan, SlidingPlan, SpeedPlan, events_table
from playhead.serving.manifest import Manifest
from schemas.playback_pb2 import PlaybackEvent
from schemas.playhead_options_pb2 import Rule, rule
from schemas.tables import event_columns, lake_columns

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from pyspark.sql import DataFrame

EVENTS = "events"
MS_INTO_DAY = "ms_into_day"
"""Column of a gated frame: its time since the start of the day that it is filed under."""
ROW_ID = "entity_and_time"
"""Column of a gated view's or changelog's row: its key and event timestamp."""

_DAY_MS = 86_400_000
_NO_CHECKS = CheckSettings()


def events_suite(
    days: Sequence[date],
    checks: CheckSettings = _NO_CHECKS,
    dimensions: Iterable[Dimension] = (),
    more: Sequence[Any] = (),
) -> Suite:
    """Of events: the rules of `playback.proto`, ids that are unique, times inside the day, and events on every day.

    By hour: types, volume, nulls, events that came twice, and keys that the dimensions know.
    """
    import great_expectations.expectations as gxe

    found: list[Any] = [
        *_every_day(days),
        gxe.ExpectColumnValuesToBeUnique(column="event_id"),
        gxe.ExpectColumnValuesToBeBetween(column=MS_INTO_DAY, min_value=0, max_value=_DAY_MS - 1),
    ]
    for field in PlaybackEvent.DESCRIPTOR.fields:
        found += _of_field(field, field.GetOptions().Extensions[rule])
    by_hour = [
        *_of_hours(lake_columns(), may_be_null(), checks),
        gxe.ExpectColumnValuesToBeBetween(column=hours.DOUBLED, max_value=checks.max_doubled),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=hours.known(d.name), min_value=checks.min_known)
            for d in dimensions
        ),
    ]
    return Suite(name=EVENTS, expectations=(*found, *more), by_hour=tuple(by_hour))


def may_be_null() -> list[str]:
    """Columns of events that not every event has."""
    fields = PlaybackEvent.DESCRIPTOR.fields_by_name
    return [name for name in event_columns() if not fields[name].GetOptions().Extensions[rule].required]


def view_suite(
    plan: DailyPlan, days: Sequence[date], checks: CheckSettings = _NO_CHECKS, more: Sequence[Any] = ()
) -> Suite:
    """Of a declared view: one row per entity and time, values that are there, sums of a longer window that are no less.

    What can be negative (a sum of a value without a lower bound) is not held to the last, nor to 0 as its least. By
    day: types, and that it has not shrunk; it grows with every new listener.
    """
    import great_expectations.expectations as gxe

    sums = [measure for measure in plan.measures if measure.how == "sum"]
    found: list[Any] = [
        *_every_day(days),
        gxe.ExpectColumnValuesToNotBeNull(column=plan.key),
        gxe.ExpectColumnValuesToBeUnique(column=ROW_ID),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for m in sums for _, name in _features(plan, m)),
    ]
    for measure in (measure for measure in plan.measures if _never_negative(plan, measure)):
        found += _never_less([name for _, name in _features(plan, measure)])
    return Suite(
        name=plan.name, expectations=(*found, *more), by_hour=_of_hours(feature_types(plan), (), checks, growing=True)
    )


def changelog_suite(plan: SpeedPlan, name: str, checks: CheckSettings = _NO_CHECKS, more: Sequence[Any] = ()) -> Suite:
    """Of a changelog: one row per entity and whole second, under its day; counts that are there and never negative.

    Of the archive of the speed layer, which repeats rows after a restart, a row is also told by when it was written.
    By hour: types, volume, nulls.
    """
    import great_expectations.expectations as gxe

    found: list[Any] = [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnValuesToNotBeNull(column=plan.key),
        gxe.ExpectColumnValuesToNotBeNull(column=MOMENT_MS),
        gxe.ExpectColumnValuesToBeUnique(column=ROW_ID),
        gxe.ExpectColumnValuesToBeBetween(column=MS_INTO_DAY, min_value=0, max_value=_DAY_MS - 1),
    ]
    for of_measure in _counts(plan):
        found += [gxe.ExpectColumnValuesToNotBeNull(column=feature) for feature in of_measure]
        found += _never_less(of_measure)
    types = feature_types(plan)
    return Suite(name=name, expectations=(*found, *more), by_hour=_of_hours(types, types, checks))


def training_set_suite(
    manifest: Manifest, types: Mapping[str, str], by_measure: Iterable[Sequence[str]], more: Sequence[Any] = ()
) -> Suite:
    """Of a training set: its rows are the spine's, each once; its columns, with their types; counts not negative.

    Args:
        manifest: what it was made of.
        types: feature column to its type, Arrow's name.
        by_measure: as of `growing`, of the set's columns.
        more: hand-written ones of its service.
    """
    import great_expectations.expectations as gxe

    found: list[Any] = [
        gxe.ExpectTableRowCountToEqual(value=manifest.rows),
        gxe.ExpectColumnValuesToNotBeNull(column=MOMENT_MS),
        gxe.ExpectColumnValuesToBeUnique(column=ROW_ID),
        *(gxe.ExpectColumnToExist(column=feature) for feature in manifest.features),
        *(gxe.ExpectColumnValuesToNotBeNull(column=feature) for feature in manifest.defaults),
    ]
    for names in by_measure:
        found += _never_less(names)
    return Suite(name=manifest.service, expectations=(*found, *more), by_hour=tuple(_types(types)))


def feature_types(plan: SpeedPlan | DailyPlan) -> dict[str, str]:
    """Feature to its type in a file, Arrow's name; of a day's view those that it has."""
    written = plan.numbers if isinstance(plan, DailyPlan) else [name for name, _ in plan.schema]
    return {name: str(kind.to_pyarrow()) for name, kind in plan.schema if name in written}


def growing(plan: SpeedPlan | DailyPlan) -> list[list[str]]:
    """Features that are never negative, by what they sum, the shortest window first: each at least the one before."""
    if isinstance(plan, DailyPlan):
        return [[name for _, name in _features(plan, m)] for m in plan.measures if _never_negative(plan, m)]
    return _counts(plan)


def gated_events(events: DataFrame) -> DataFrame:
    """The events as `events_suite` looks at them."""
    from pyspark.sql import functions as f

    moment = f.col("event_time_ms")
    return events.select(*event_columns(), "dt", (moment - _midnight_ms()).alias(MS_INTO_DAY), moment.alias(MOMENT_MS))


def gated_view(plan: DailyPlan, view: DataFrame) -> DataFrame:
    """The view's rows as `view_suite` looks at them.

    What compares columns is made a column: all expectations on single columns share one pass over the rows, and each
    on several has two of its own.
    """
    from pyspark.sql import functions as f

    row_id = f.concat_ws(" ", plan.key, f.unix_millis("event_timestamp")).alias(ROW_ID)
    return view.select(row_id, plan.key, *plan.numbers, *_growths(growing(plan)), "dt")


def gated_changelog(plan: SpeedPlan, rows: DataFrame, *, archive: bool) -> DataFrame:
    """Rows of a changelog as `changelog_suite` looks at them; `archive`: of the speed layer's."""
    from pyspark.sql import functions as f

    moment = f.unix_millis("event_timestamp")
    written = [f.unix_millis("created_at")] if archive else []
    return rows.select(
        f.concat_ws(" ", plan.key, moment, *written).alias(ROW_ID),
        plan.key,
        *(name for name, _ in plan.schema),
        *_growths(_counts(plan)),
        "dt",
        (moment - _midnight_ms()).alias(MS_INTO_DAY),
        moment.alias(MOMENT_MS),
    )


def growth(shorter: str, longer: str) -> str:
    """Name of the column of a gated frame that has what a longer window has more."""
    return f"{longer}_less_{shorter}"


def _growths(by_measure: Iterable[Sequence[str]]) -> list[Any]:
    from pyspark.sql import functions as f

    pairs = [pair for names in by_measure for pair in pairwise(names)]
    return [(f.col(longer) - f.col(shorter)).alias(growth(shorter, longer)) for shorter, longer in pairs]


def _midnight_ms() -> Any:
    from pyspark.sql import functions as f

    return f.unix_millis(f.col("dt").cast("timestamp"))


def _every_day(days: Sequence[date]) -> list[Any]:
    """There are rows, and of each of the days, because a batch holds no others."""
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnUniqueValueCountToBeBetween(column="dt", min_value=len(days), max_value=len(days)),
    ]


def _of_hours(
    types: Mapping[str, str], nullable: Iterable[str], checks: CheckSettings, *, growing: bool = False
) -> tuple[Any, ...]:
    """Of a profile, which has a type where it is not the expected one, and a figure where it is out of bounds."""
    import great_expectations.expectations as gxe

    most = None if growing else checks.max_volume
    return (
        gxe.ExpectColumnValuesToBeBetween(column=hours.VOLUME, min_value=checks.min_volume, max_value=most),
        *_types(types),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=hours.null_rise(name), max_value=checks.max_null_rise)
            for name in nullable
        ),
    )


def _types(types: Mapping[str, str]) -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToBeInSet(column=hours.type_of(name), value_set=[kind]) for name, kind in types.items()
    ]


def _never_less(names: Sequence[str]) -> list[Any]:
    """Never negative, and a longer window never less than a shorter one."""
    import great_expectations.expectations as gxe

    columns = [*names, *(growth(*pair) for pair in pairwise(names))]
    return [gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0) for column in columns]


def _features(plan: DailyPlan, measure: Measure) -> list[tuple[int, str]]:
    """(number of days, feature) of a measure, the shortest window first; none of what a mean is made of."""
    shown = dict(plan.schema)
    return sorted((count, name) for name, own, count in plan.windows if own == measure.name and name in shown)


def _counts(plan: SpeedPlan) -> list[list[str]]:
    """Features of a changelog that are sums without a negative part, by measure, the shortest window first."""
    shown = dict(plan.schema)
    if not isinstance(plan, SlidingPlan):
        return []
    found: dict[str, list[tuple[float, str]]] = {}
    for window in plan.sums:
        if window.name in shown and _never_negative(plan, window.measure):
            length = float("inf") if window.length is None else window.length.total_seconds()
            found.setdefault(window.measure.name, []).append((length, window.name))
    return [[name for _, name in sorted(own)] for own in found.values()]


def _of_field(field: FieldDescriptor, own: Rule) -> list[Any]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    found: list[Any] = []
    if own.required:
        found.append(gxe.ExpectColumnValuesToNotBeNull(column=field.name))
    if own.required_on:
        kinds = Column("event_type").is_in(list(own.required_on))
        found.append(gxe.ExpectColumnValuesToNotBeNull(column=field.name, row_condition=kinds))
    if own.HasField("min") or own.HasField("max"):
        least, most = (getattr(own, end) if own.HasField(end) else None for end in ("min", "max"))
        found.append(gxe.ExpectColumnValuesToBeBetween(column=field.name, min_value=least, max_value=most))
    if own.max_length:
        found.append(gxe.ExpectColumnValueLengthsToBeBetween(column=field.name, max_value=own.max_length))
    if field.enum_type:
        names = [value.name for value in field.enum_type.values if value.number]
        found.append(gxe.ExpectColumnValuesToBeInSet(column=field.name, value_set=names))
    return found


def _never_negative(plan: SpeedPlan | DailyPlan, measure: Measure) -> bool:
    """A count, or a sum of a field whose rule has a least value of 0 or more."""
    if measure.how != "sum":
        return False
    if measure.value is None:
        return True
    value = resolve(measure.value, events_table(plan.dimensions)).op()
    if not isinstance(value, ops.Field) or value.name not in PlaybackEvent.DESCRIPTOR.fields_by_name:
        return False
    own = PlaybackEvent.DESCRIPTOR.fields_by_name[value.name].GetOptions().Extensions[rule]
    return bool(own.HasField("min") and own.min >= 0)
