"""What must hold of a table: suites of Great Expectations, run on the whole data, and what they find.

A suite looks at a batch of days at once: at every row, and at the days hour by hour beside what is usual (`hours`).
Frames of Spark are judged on Spark, frames of pandas in this process. Which suites there are stands in `suites`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from playhead.checks.hours import DT, SINCE
from playhead.checks.verdicts import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

MOMENT_MS = "moment_ms"
"""Column of a frame that says when a row is of, epoch milliseconds."""

Profile = Sequence[Mapping[str, Any]]
"""Rows of `hours.profile`."""

_EXAMPLES = 3
_HOUR_MS = 3_600_000
# No examples where nothing is wrong: each would be a job of its own.
_COUNT_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
_WITH_EXAMPLES = {"result_format": "SUMMARY", "partial_unexpected_count": _EXAMPLES}
_ALL_HOURS = {"result_format": "COMPLETE", "unexpected_index_column_names": [SINCE]}
_NOT_BY_ROW = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
"""What compares rows with each other: the first bad rows in time are not the first that it finds."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Expectations of Great Expectations, by the name of their table.

    Attributes:
        expectations: on the rows.
        by_hour: on the profile.
    """

    name: str
    expectations: tuple[Any, ...]
    by_hour: tuple[Any, ...] = ()


SuiteOf = Callable[[Sequence[date]], Suite]
"""The suite for a batch of days."""


def validate(frame: DataFrame | pd.DataFrame, suite: Suite, days: Sequence[date], profile: Profile = ()) -> Verdict:
    """Run a suite on a frame. It is read a few times: cache it.

    Args:
        frame: a batch of days, with the column `dt`; with `MOMENT_MS`, findings say since when.
        suite: made for these days.
        days: what the batch holds.
        profile: the same days hour by hour; without it, what is expected of hours holds.
    """
    found = _run(frame, suite.name, suite.expectations, _COUNT_ONLY)
    failed = tuple(e for e, result in zip(suite.expectations, found, strict=True) if not result.success)
    if failed:
        again = iter(_examples(frame, suite.name, failed))
        found = [result if result.success else next(again) for result in found]
    asked, expectations = list(found), [*suite.expectations]
    if suite.by_hour:
        expectations += suite.by_hour
        asked += _run(_hours(profile, suite.by_hour), suite.name, suite.by_hour, _ALL_HOURS)
    return Verdict(
        suite=suite.name,
        days=tuple(days),
        findings=tuple(map(_finding, expectations, asked)),
        rendered=tuple(result.to_json_dict() for result in asked),
    )


def judge(
    frame: DataFrame, suite_of: SuiteOf, days: Sequence[date], profile: Profile = (), *, go_on: bool = False
) -> dict[date, Verdict]:
    """Judge each day, up to and including the first that fails.

    All days are looked at in one batch first: what holds of them together holds of each. Only when it does not, one day
    after the other is.

    Args:
        frame: the rows of these days, cached, with the column `dt`.
        suite_of: the suite for a batch of days.
        days: at least one, in order.
        profile: the days hour by hour.
        go_on: judge the days after one that fails too.
    """
    verdict = validate(frame, suite_of(days), days, profile)
    if verdict.success or len(days) == 1:
        return dict.fromkeys(days, verdict)
    found: dict[date, Verdict] = {}
    for day in days:
        own = [row for row in profile if row[DT] == day.isoformat()]
        found[day] = validate(frame.where(frame.dt == day.isoformat()), suite_of([day]), [day], own)
        if not found[day].success and not go_on:
            break
    return found


def _examples(frame: DataFrame | pd.DataFrame, name: str, failed: Sequence[Any]) -> list[Any]:
    """The results of expectations that fail, with the first bad rows in time where the frame has one."""
    if MOMENT_MS not in frame.columns or not hasattr(frame, "sparkSession"):
        return _run(frame, name, failed, _WITH_EXAMPLES)
    by_time = _WITH_EXAMPLES | {"unexpected_index_column_names": [MOMENT_MS]}
    return _run(frame.orderBy(MOMENT_MS), name, failed, by_time)


def _hours(profile: Profile, expectations: Sequence[Any]) -> pd.DataFrame:
    """A profile as a frame, with the columns that the expectations are on: null where it has nothing to say."""
    import pandas as pd

    texts = {SINCE, *(e.column for e in expectations if hasattr(e, "value_set"))}
    names = dict.fromkeys([SINCE, *(e.column for e in expectations)])
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in profile], dtype="object" if name in texts else "float64")
            for name in names
        }
    )


def _run(
    frame: DataFrame | pd.DataFrame, name: str, expectations: Sequence[Any], result_format: dict[str, Any]
) -> list[Any]:
    """The results in the order of the expectations."""
    import great_expectations as gx

    # Copies, because a suite keeps what it is given and a second one would refuse it.
    own, context = [copy.copy(expectation) for expectation in expectations], _context()
    on_spark = hasattr(frame, "sparkSession")
    source = context.data_sources.add_spark(name, persist=False) if on_spark else context.data_sources.add_pandas(name)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
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
    observed = _plain(next((one for one in lists if one not in (None, [])), None))
    value, allowed = _figures(config.kwargs, seen)
    return Finding(
        expectation=config.type,
        column=_column(config.kwargs),
        condition=None if condition is None else repr(condition),
        success=bool(result.success),
        observed=observed,
        unexpected=seen.get("unexpected_count"),
        error=errors[0] if errors else None,
        value=value,
        allowed=allowed,
        since=None if result.success else _since(config.type, seen),
    )


def _column(kwargs: Mapping[str, Any]) -> str | None:
    """What an expectation is on; of several columns, all of them."""
    several = kwargs.get("column_list") or [kwargs[key] for key in ("column_A", "column_B") if key in kwargs]
    return kwargs.get("column") or ("+".join(several) or None)


def _figures(kwargs: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The value that stands for a result, and its bound: of hours the worst one, of rows how many are bad."""
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    if SINCE in seen.get("unexpected_index_column_names", ()):
        numbers = [float(v) for v in seen.get("unexpected_list", ()) if isinstance(v, int | float)]
        if numbers and most is not None and max(numbers) > most:
            return max(numbers), most
        return (min(numbers), least) if numbers else (seen.get("unexpected_count"), 0.0)
    if seen.get("unexpected_count") is not None:
        return float(seen["unexpected_count"]), 0.0
    observed = seen.get("observed_value")
    if not isinstance(observed, int | float):
        return None, None
    return float(observed), most if most is not None and observed > most else least


def _since(kind: str, seen: Mapping[str, Any]) -> datetime | None:
    """The hour of the first bad row, or the first bad hour."""
    found = seen.get("unexpected_index_list") or seen.get("partial_unexpected_index_list") or []
    rows = [row for row in found if isinstance(row, dict)]  # of pandas without an index asked for, numbers of rows
    hours = [datetime.fromisoformat(row[SINCE]) for row in rows if row.get(SINCE)]
    if kind not in _NOT_BY_ROW:
        moments = [row[MOMENT_MS] for row in rows if row.get(MOMENT_MS) is not None]
        hours += [datetime.fromtimestamp(ms // _HOUR_MS * 3_600, UTC) for ms in moments]
    return min(hours, default=None)


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """One, or one per metric that could not be had."""
    return [info] if "raised_exception" in info else list(info.values())


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
