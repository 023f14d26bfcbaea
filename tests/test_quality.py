"""The quality gate: what the suites ask, and what they find."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import ibis
import pyarrow as pa
import pytest
from ibis import _
from pyspark.sql import DataFrame, SparkSession

from playhead.checks import results
from playhead.checks.quality import judge, validate
from playhead.checks.suites import events_suite, gated_events, gated_view, view_suite
from playhead.checks.verdicts import Finding, Verdict, keep
from playhead.compile import compile_group
from playhead.config import Settings
from playhead.days import dated_events
from playhead.declarations import load_declarations
from playhead.declare import Count, Entity, FeatureGroup, Sum, days
from playhead.plan import DailyPlan
from tests.spark import spark  # noqa: F401 — the fixture

NOV = [date(2018, 11, n) for n in range(1, 5)]
PLAN = next(plan for plan in load_declarations().daily_plans if plan.key == "user_id")
GOOD = {
    "event_id": "e1",
    "user_id": "u",
    "track_id": "t",
    "event_type": "SKIP",
    "event_time_ms": 1_541_030_400_000,  # 2018-11-01T00:00:00Z
    "ms_played": 5,
    "content_type": "SONG",
    "dt": "2018-11-01",
}
DAY_MS = 86_400_000


def events(spark: SparkSession, *changes: dict[str, Any]) -> DataFrame:  # noqa: F811
    """Good events with other ids, each changed."""
    rows = [GOOD | {"event_id": f"e{n}"} | change for n, change in enumerate(changes)]
    table = pa.Table.from_pylist(rows, schema=dated_events().schema().to_pyarrow())
    return gated_events(spark.createDataFrame(table))


def view(spark: SparkSession, *changes: dict[str, Any], plan: DailyPlan = PLAN) -> DataFrame:  # noqa: F811
    """Rows of a view with other users, each changed."""
    zeros = dict.fromkeys(plan.numbers, 0)
    end = datetime(2018, 11, 2, tzinfo=UTC)
    rows = [{plan.key: f"u{n}", "event_timestamp": end, **zeros, "dt": "2018-11-01"} | c for n, c in enumerate(changes)]
    fields = {plan.key: "string", "event_timestamp": "timestamp('UTC')", **dict(plan.schema), "dt": "string"}
    table = pa.Table.from_pylist(rows, schema=ibis.schema(fields).to_pyarrow())
    return gated_view(plan, spark.createDataFrame(table))


def failed(verdict: Verdict) -> list[tuple[str, str | None, int | None]]:
    return [(f.expectation.removeprefix("expect_"), f.column, f.unexpected) for f in verdict.failures]


# --- without an engine ---------------------------------------------------------------------------------------------


def finding(**values: Any) -> Finding:
    seen: dict[str, Any] = {"expectation": "expect_x", "column": "c", "condition": None, "success": False}
    return Finding(**seen | {"observed": ["a"], "unexpected": 3, "error": None} | values)


def test_a_finding_says_what_is_wrong() -> None:
    assert str(finding()) == "expect_x(c): 3 unexpected, observed ['a']"
    assert str(finding(condition="k == 1")) == "expect_x(c) where k == 1: 3 unexpected, observed ['a']"
    assert str(finding(column=None, unexpected=None, observed=0)) == "expect_x: observed 0"
    assert str(finding(error="no such column")) == "expect_x(c) could not be evaluated: no such column"


def test_results_are_kept_by_day(settings: Settings) -> None:
    good, bad = (Verdict(suite="events", days=(NOV[0],), findings=(finding(success=ok),)) for ok in (True, False))
    keep(settings, {NOV[0]: [good], NOV[1]: [bad]}, whole=True)
    keep(settings, {NOV[1]: [good, bad], NOV[2]: [good]}, whole=True)
    kept = (results.load(settings, "quality") or {})["days"]
    assert {day: one["success"] for day, one in kept.items()} == {
        "2018-11-01": True,
        "2018-11-02": False,
        "2018-11-03": True,
    }
    (expectation,) = kept["2018-11-01"]["suites"]["events"]["expectations"]
    assert expectation["expectation"] == "expect_x"


# --- the events ----------------------------------------------------------------------------------------------------


@pytest.mark.spark
def test_good_events_pass(spark: SparkSession) -> None:  # noqa: F811
    frame = events(spark, {}, {"event_type": "SEARCH", "track_id": None, "ms_played": None})
    assert failed(validate(frame, events_suite(NOV[:1]), NOV[:1])) == []


@pytest.mark.spark
def test_every_fault_of_the_events_is_found(spark: SparkSession) -> None:  # noqa: F811
    frame = events(
        spark,
        {"event_id": "same"},
        {"event_id": "same"},
        {"event_id": None, "user_id": None},
        {"event_type": "HUM"},
        {"event_time_ms": 1_541_030_400_000 + DAY_MS},
        {"event_time_ms": 1_541_030_400_000 - 1},
        {"ms_played": None},
        {"track_id": None},
        {"ms_played": 172_800_001, "position_ms": -1},
        {"content_type": None, "country": "Germany"},
    )
    verdict = validate(frame, events_suite(NOV[:2]), NOV[:2])
    assert sorted(failed(verdict), key=str) == sorted(
        [
            ("column_unique_value_count_to_be_between", "dt", None),
            ("column_values_to_be_unique", "event_id", 2),
            ("column_values_to_be_between", "ms_into_day", 2),
            ("column_values_to_not_be_null", "event_id", 1),
            ("column_values_to_not_be_null", "user_id", 1),
            ("column_values_to_not_be_null", "track_id", 1),
            ("column_values_to_be_in_set", "event_type", 1),
            ("column_values_to_not_be_null", "ms_played", 1),
            ("column_values_to_be_between", "ms_played", 1),
            ("column_values_to_be_between", "position_ms", 1),
            ("column_values_to_not_be_null", "content_type", 1),
            ("column_value_lengths_to_be_between", "country", 1),
        ],
        key=str,
    )
    unknown = next(f for f in verdict.failures if f.column == "event_type")
    assert str(unknown) == (
        "expect_column_values_to_be_in_set(event_type): 1 unexpected, observed ['HUM'], since 2018-11-01 00:00"
    )


@pytest.mark.spark
def test_no_events_fail(spark: SparkSession) -> None:  # noqa: F811
    verdict = validate(events(spark), events_suite(NOV[:1]), NOV[:1])
    assert "table_row_count_to_be_between" in [name for name, _, _ in failed(verdict)]


@pytest.mark.spark
def test_a_column_that_is_missing_fails_and_says_so(spark: SparkSession) -> None:  # noqa: F811
    verdict = validate(events(spark, {}).drop("device"), events_suite(NOV[:1]), NOV[:1])
    (only,) = verdict.failures
    assert "device" in (only.error or "")


@pytest.mark.spark
def test_days_are_judged_up_to_the_first_that_fails(spark: SparkSession) -> None:  # noqa: F811
    on = [{"dt": f"2018-11-0{n}", "event_time_ms": 1_541_030_400_000 + (n - 1) * DAY_MS} for n in range(1, 5)]
    frame = events(spark, on[0], on[1], on[2] | {"user_id": None}, on[3])
    found = judge(frame, events_suite, NOV)
    assert {day: verdict.success for day, verdict in found.items()} == {NOV[0]: True, NOV[1]: True, NOV[2]: False}
    assert found[NOV[2]].days == (NOV[2],)


@pytest.mark.spark
def test_good_days_are_judged_together(spark: SparkSession) -> None:  # noqa: F811
    second = {"dt": "2018-11-02", "event_time_ms": 1_541_030_400_000 + DAY_MS}
    found = judge(events(spark, {}, second), events_suite, NOV[:2])
    assert [(v.success, v.days) for v in found.values()] == [(True, (NOV[0], NOV[1]))] * 2


# --- the views -----------------------------------------------------------------------------------------------------


@pytest.mark.spark
def test_good_views_pass(spark: SparkSession) -> None:  # noqa: F811
    frame = view(spark, {}, {"plays_7d": 1, "plays_30d": 1}, {"skips_30d": 2})
    assert failed(validate(frame, view_suite(PLAN, NOV[:1]), NOV[:1])) == []


@pytest.mark.spark
def test_every_fault_of_a_view_is_found(spark: SparkSession) -> None:  # noqa: F811
    frame = view(
        spark,
        {"user_id": "u"},
        {"user_id": "u"},
        {"skips_7d": 2, "skips_30d": 1},
        {"plays_7d": -1},
        {"listen_ms_7d": None},
    )
    assert sorted(failed(validate(frame, view_suite(PLAN, NOV[:1]), NOV[:1])), key=str) == [
        ("column_values_to_be_between", "plays_7d", 1),
        ("column_values_to_be_between", "skips_30d_less_skips_7d", 1),
        ("column_values_to_be_unique", "entity_and_time", 2),
        ("column_values_to_not_be_null", "listen_ms_7d", 1),
    ]


@pytest.mark.spark
def test_a_sum_that_may_be_negative_may_be_negative(spark: SparkSession) -> None:  # noqa: F811
    group = FeatureGroup(
        name="drift",
        entity=Entity(name="user", key="user_id"),
        features=(
            Sum("ahead_ms", _.position_ms - _.ms_played, where=_.event_type == "SEEK", over=days(7, 30)),
            Count("seeks", where=_.event_type == "SEEK", over=days(7, 30)),
        ),
    )
    plan = compile_group(group)
    assert isinstance(plan, DailyPlan)
    frame = view(spark, {"ahead_ms_7d": 5, "ahead_ms_30d": -5}, plan=plan)
    assert failed(validate(frame, view_suite(plan, NOV[:1]), NOV[:1])) == []
