"""The quality gate: what must hold of a day's events and of its views before the day is published.

Great Expectations runs on the whole data, on Spark. What a valid event is stands in `playback.proto`; the suite of the
events is derived from there, so the decoder and the gate cannot disagree. A suite looks at a batch of days at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ibis.expr.operations as ops

from playhead.checks import results
from playhead.config import Settings
from playhead.expressions import resolve
from playhead.nodes import Measure
from playhead.plan import DailyPlan, events_table
from schemas.playback_pb2 import PlaybackEvent
from schemas.playhead_options_pb2 import Rule, rule
from schemas.tables import event_columns

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from pyspark.sql import DataFrame

RESULT = "quality"
MS_INTO_DAY = "ms_into_day"
"""Column of a gated event: its time since the start of the day that it is filed under."""
ROW_ID = "entity_and_time"
"""Column of a gated view's row: its key and event timestamp."""

_DAY_MS = 86_400_000
_KEPT_DAYS = 400
_EXAMPLES = 3
# No examples where nothing is wrong: each would be a job of its own.
_COUNT_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
_WITH_EXAMPLES = {"result_format": "BASIC", "partial_unexpected_count": _EXAMPLES}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Expectations of Great Expectations, by a name."""

    name: str
    expectations: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One expectation and what was seen.

    Attributes:
        expectation: its name in Great Expectations.
        column: what it is about; None for the table.
        condition: the rows that it is about; None for all.
        observed: the value seen, where there is one; of a failed expectation on rows, a few of the bad values.
        unexpected: number of bad rows; None for an expectation on the table or the number of values.
        error: why it could not be evaluated, if so.
    """

    expectation: str
    column: str | None
    condition: str | None
    success: bool
    observed: Any
    unexpected: int | None
    error: str | None

    def __str__(self) -> str:
        place = f"({self.column})" if self.column else ""
        rows = f" where {self.condition}" if self.condition else ""
        if self.error is not None:
            return f"{self.expectation}{place}{rows} could not be evaluated: {self.error}"
        bad = "" if self.unexpected is None else f"{self.unexpected} unexpected, "
        return f"{self.expectation}{place}{rows}: {bad}observed {self.observed}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a suite found in a batch of days."""

    suite: str
    days: tuple[date, ...]
    findings: tuple[Finding, ...]

    @property
    def success(self) -> bool:
        """Whether every expectation holds."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The expectations that do not hold."""
        return tuple(f for f in self.findings if not f.success)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "success": self.success,
            "batch": [day.isoformat() for day in self.days],
            "expectations": [asdict(f) for f in self.findings],
        }


def events_suite(days: Sequence[date]) -> Suite:
    """Of events: the rules of `playback.proto`, ids that are unique, times inside the day, and events on every day."""
    import great_expectations.expectations as gxe

    found: list[Any] = [
        *_every_day(days),
        gxe.ExpectColumnValuesToBeUnique(column="event_id"),
        gxe.ExpectColumnValuesToBeBetween(column=MS_INTO_DAY, min_value=0, max_value=_DAY_MS - 1),
    ]
    for field in PlaybackEvent.DESCRIPTOR.fields:
        found += _of_field(field, field.GetOptions().Extensions[rule])
    return Suite(name="events", expectations=tuple(found))


def view_suite(plan: DailyPlan, days: Sequence[date]) -> Suite:
    """Of a declared view: one row per entity and time, values that are there, sums of a longer window that are no less.

    What can be negative (a sum of a value without a lower bound) is not held to the last, nor to 0 as its least.
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
        found += [gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0) for _, name in _features(plan, measure)]
        found += [
            gxe.ExpectColumnValuesToBeBetween(column=_growth(shorter, longer), min_value=0)
            for (_, shorter), (_, longer) in pairwise(_features(plan, measure))
        ]
    return Suite(name=plan.name, expectations=tuple(found))


def gated_events(events: DataFrame) -> DataFrame:
    """The events as `events_suite` looks at them."""
    from pyspark.sql import functions as f

    midnight_ms = f.unix_millis(f.col("dt").cast("timestamp"))
    return events.select(*event_columns(), "dt", (f.col("event_time_ms") - midnight_ms).alias(MS_INTO_DAY))


def gated_view(plan: DailyPlan, view: DataFrame) -> DataFrame:
    """The view's rows as `view_suite` looks at them.

    What compares columns is made a column: all expectations on single columns share one pass over the rows, and each
    on several has two of its own.
    """
    from pyspark.sql import functions as f

    grown = [
        (f.col(longer) - f.col(shorter)).alias(_growth(shorter, longer))
        for measure in plan.measures
        if _never_negative(plan, measure)
        for (_, shorter), (_, longer) in pairwise(_features(plan, measure))
    ]
    row_id = f.concat_ws(" ", plan.key, f.unix_millis("event_timestamp")).alias(ROW_ID)
    return view.select(row_id, plan.key, *plan.numbers, *grown, "dt")


def validate(frame: DataFrame, suite: Suite, days: Sequence[date]) -> Verdict:
    """Run a suite on a frame. It is read a few times: cache it.

    Args:
        frame: a batch of days, with the column `dt`.
        suite: made for these days.
        days: what the batch holds.
    """
    found = _run(frame, suite.name, suite.expectations, _COUNT_ONLY)
    failed = tuple(e for e, result in zip(suite.expectations, found, strict=True) if not result.success)
    if failed:
        again = iter(_run(frame, suite.name, failed, _WITH_EXAMPLES))
        found = [result if result.success else next(again) for result in found]
    findings = tuple(map(_finding, suite.expectations, found))
    return Verdict(suite=suite.name, days=tuple(days), findings=findings)


def judge(frame: DataFrame, suite_of: Callable[[Sequence[date]], Suite], days: Sequence[date]) -> dict[date, Verdict]:
    """Judge each day, up to and including the first that fails.

    All days are looked at in one batch first: what holds of them together holds of each. Only when it does not, one day
    after the other is.

    Args:
        frame: the rows of these days, cached, with the column `dt`.
        suite_of: the suite for a batch of days.
        days: at least one, in order.
    """
    verdict = validate(frame, suite_of(days), days)
    if verdict.success or len(days) == 1:
        return dict.fromkeys(days, verdict)
    found: dict[date, Verdict] = {}
    for day in days:
        found[day] = validate(frame.where(frame.dt == day.isoformat()), suite_of([day]), [day])
        if not found[day].success:
            break
    return found


def record(settings: Settings, verdicts: Mapping[date, Sequence[Verdict]]) -> None:
    """Add to the result `quality`: `{"days": {day: {"at", "success", "suites": {suite: …}}}}`, newest days kept."""
    days: dict[str, Any] = (results.load(settings, RESULT) or {}).get("days", {})
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    for day, own in verdicts.items():
        suites = {verdict.suite: verdict.to_json() for verdict in own}
        days[day.isoformat()] = {"at": at, "success": all(v.success for v in own), "suites": suites}
    results.save(settings, RESULT, {"days": dict(sorted(days.items())[-_KEPT_DAYS:])})


def _every_day(days: Sequence[date]) -> list[Any]:
    """There are rows, and of each of the days, because a batch holds no others."""
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnUniqueValueCountToBeBetween(column="dt", min_value=len(days), max_value=len(days)),
    ]


def _features(plan: DailyPlan, measure: Measure) -> list[tuple[int, str]]:
    """(number of days, feature) of a measure, the shortest window first; none of what a mean is made of."""
    shown = dict(plan.schema)
    return sorted((count, name) for name, own, count in plan.windows if own == measure.name and name in shown)


def _growth(shorter: str, longer: str) -> str:
    return f"{longer}_less_{shorter}"


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


def _never_negative(plan: DailyPlan, measure: Measure) -> bool:
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


def _run(frame: DataFrame, name: str, expectations: Sequence[Any], result_format: dict[str, Any]) -> list[Any]:
    """The results in the order of the expectations."""
    import great_expectations as gx

    # Copies, because a suite keeps what it is given and a second one would refuse it.
    own, context = [copy.copy(expectation) for expectation in expectations], _context()
    asset = context.data_sources.add_spark(name, persist=False).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe(name)
    suite = context.suites.add(gx.ExpectationSuite(name, expectations=own))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    done = validation.run(batch_parameters={"dataframe": frame}, result_format=result_format)
    by_id = {result.expectation_config.id: result for result in done.results}
    return [by_id[expectation.id] for expectation in suite.expectations]


def _context() -> Any:
    """A context in memory: no files, no reports to anybody, no progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = DataContextConfig(
        store_backend_defaults=stores, progress_bars=ProgressBarsConfig(globally=False), analytics_enabled=False
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _finding(expectation: Any, result: Any) -> Finding:
    config, seen = result.expectation_config, result.result
    errors = [e["exception_message"] for e in _exceptions(result.exception_info) if e.get("raised_exception")]
    condition = getattr(expectation, "row_condition", None)
    lists = [seen.get(key) for key in ("observed_value", "partial_unexpected_list")]
    return Finding(
        expectation=config.type,
        column=config.kwargs.get("column"),
        condition=None if condition is None else repr(condition),
        success=bool(result.success),
        observed=_plain(next((one for one in lists if one not in (None, [])), None)),
        unexpected=seen.get("unexpected_count"),
        error=errors[0] if errors else None,
    )


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """One, or one per metric that could not be had."""
    return [info] if "raised_exception" in info else list(info.values())


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
