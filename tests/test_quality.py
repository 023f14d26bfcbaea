"""The quality gate: what the suites ask, and what they find."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from ibis import _
from pyspark.sql import DataFrame, SparkSession
from typer.testing import CliRunner

from playhead.batch import training_sets
from playhead.batch.events import read_events
from playhead.batch.profiles import Types, event_types, events_profile
from playhead.batch.quality import check_quality
from playhead.batch.session import cached
from playhead.checks import results
from playhead.checks.quality import judge, validate
from playhead.checks.readings import standings
from playhead.checks.suites import events_suite, gated_events, gated_view, view_suite
from playhead.checks.verdicts import Finding, Verdict, keep
from playhead.cli import app
from playhead.compile import compile_group
from playhead.config import Settings
from playhead.days import begin_ms_of, dated_events
from playhead.declarations import load_declarations
from playhead.declare import Count, Entity, FeatureGroup, Sum, days
from playhead.dimensions import arrow_schema
from playhead.errors import InputError, UnknownName
from playhead.plan import DailyPlan
from playhead.serving.manifest import Manifest
from tests.archive import backfilled, write_rows
from tests.lake import write_events
from tests.spark import small_queries, spark  # noqa: F401 — the fixtures

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


# --- what is unusual, by hour --------------------------------------------------------------------------------------

WEEK = [date(2018, 11, n) for n in range(5, 9)]
CHECKED = WEEK[-1]
TRACKS = load_declarations().dimension("track")
PER_HOUR = 40


def usual_day(day: date) -> list[dict[str, Any]]:
    """Plays of tracks that the catalogue knows, as many in every hour; of each hour one has no device."""
    start_ms = begin_ms_of(day)
    return [
        GOOD
        | {
            "event_id": f"{day}-{hour}-{n}",
            "event_type": "PLAY",
            "track_id": f"t{n % 4}",
            "event_time_ms": start_ms + hour * 3_600_000 + n * 1_000,
            "device": "phone" if n else None,
            "ms_played": None,
        }
        for hour in range(24)
        for n in range(PER_HOUR)
    ]


def hour_of(event: dict[str, Any]) -> int:
    return datetime.fromtimestamp(event["event_time_ms"] / 1000, UTC).hour


def with_defects(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At 3 a null burst, at 9 the same again under other ids, from 14 on a drop, at 12 tracks that nobody knows."""
    found = []
    for n, event in enumerate(events):
        hour = hour_of(event)
        if hour == 3:
            event = event | {"device": None}
        if hour == 12 and n % 2:
            event = event | {"track_id": "new"}
        if hour in (14, 15, 16) and n % 10:
            continue
        found.append(event)
        if hour == 9:
            found.append(event | {"event_id": f"again-{n}"})
    return found


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a lake of four days that are like each other, with their catalogue."""
    settings = Settings(home=tmp_path_factory.mktemp("quality"))
    for day in WEEK:
        write_events(settings.lake, usual_day(day), name=f"part-{day}")
    tracks = [dict.fromkeys(arrow_schema(TRACKS).names) | {"track_id": f"t{n}", "valid_from_ms": 0} for n in range(4)]
    path = settings.lake / "dimensions" / "track"
    path.parent.mkdir(parents=True)
    write_deltalake(path, pa.Table.from_pylist(tracks, arrow_schema(TRACKS)))
    return settings


def judged(spark: SparkSession, lake: Settings, rows: list[dict[str, Any]]) -> dict[str, Finding]:  # noqa: F811
    """What fails of the day when it has these events, by measure."""
    table = pa.Table.from_pylist([row | {"dt": str(CHECKED)} for row in rows], dated_events().schema().to_pyarrow())
    days, dimensions = [CHECKED], load_declarations().dimensions
    with cached(spark.createDataFrame(table)) as frame:
        hours = events_profile(spark, lake, frame, days, dimensions, Types(), now=datetime.now(UTC))
        verdict = validate(gated_events(frame), events_suite(days, lake.checks, dimensions), days, hours)
    return {finding.measure: finding for finding in verdict.failures}


@pytest.mark.spark
def test_a_day_like_the_others_has_no_finding(spark: SparkSession, lake: Settings) -> None:  # noqa: F811
    assert judged(spark, lake, usual_day(CHECKED)) == {}


@pytest.mark.spark
def test_each_planted_defect_is_found_with_its_column_and_hour(spark: SparkSession, lake: Settings) -> None:  # noqa: F811
    found = judged(spark, lake, with_defects(usual_day(CHECKED)))
    assert {name: one.since and one.since.hour for name, one in found.items()} == {
        "null_rise(device)": 3,
        "doubled": 9,
        "volume": 9,  # twice as many there, before the drop
        "known(track)": 12,
    }
    assert found["null_rise(device)"].value == pytest.approx(1 - 1 / PER_HOUR)
    assert (found["doubled"].value, found["doubled"].allowed) == (0.5, 0.01)
    assert (found["known(track)"].value, found["known(track)"].allowed) == (0.5, 0.9)
    assert found["volume"].unexpected == 4


@pytest.mark.spark
def test_a_file_of_another_type_is_judged_and_read_as_far_as_it_can_be(
    spark: SparkSession,  # noqa: F811
    lake: Settings,
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    for day in WEEK[-2:]:
        write_events(settings.lake, usual_day(day))
    (file,) = (settings.lake / "events" / f"dt={CHECKED}" / "hour=05").iterdir()
    broken = pq.read_table(file, partitioning=None)
    texts = pa.array(["soon", *["7"] * (broken.num_rows - 1)])
    pq.write_table(broken.set_column(broken.schema.get_field_index("position_ms"), "position_ms", texts), file)
    [(day, verdict)] = check_quality(settings, load_declarations(), tables=["events"])
    assert (day, [f.measure for f in verdict.failures]) == (CHECKED, ["type(position_ms)"])
    assert verdict.failures[0].observed == ["string"]
    assert verdict.failures[0].since == datetime(2018, 11, 8, 5, tzinfo=UTC)
    rows = read_events(spark, settings.lake, [CHECKED], cast=event_types(settings.lake, [CHECKED]).files)
    assert (rows.count(), rows.where("position_ms = 7").count()) == (24 * PER_HOUR, PER_HOUR - 1)
    (standing,) = (one for one in standings(settings) if one.reading.measure == "type(position_ms)")
    assert standing.since == datetime(2018, 11, 8, 5, tzinfo=UTC)
    assert (settings.home / "data-docs" / "events" / f"{CHECKED}.html").is_file()


# --- changelogs ----------------------------------------------------------------------------------------------------

LISTENER = next(plan for plan in load_declarations().speed_plans if plan.name == "listener")


def changelog_rows(day: date, **changed: Any) -> list[dict[str, Any]]:
    """A row an hour of a listener."""
    counts = {name: 1 for name, kind in LISTENER.schema if kind.is_integer()}
    start_ms = begin_ms_of(day)
    return [
        {"user_id": "u", "event_timestamp_ms": start_ms + hour * 3_600_000, **counts, **(changed if hour == 7 else {})}
        for hour in range(24)
    ]


@pytest.mark.spark
def test_changelogs_are_judged_where_they_are(spark: SparkSession, tmp_path: Path) -> None:  # noqa: F811
    settings = Settings(home=tmp_path)
    write_rows(settings.lake, LISTENER, changelog_rows(WEEK[0]))
    write_rows(settings.lake, LISTENER, changelog_rows(WEEK[1], plays_1m=2, plays_1h=-1, valence_last_20=2_000))
    backfilled(settings.lake, LISTENER, changelog_rows(WEEK[1]), str(WEEK[1]))
    found = check_quality(settings, load_declarations(), day=WEEK[1], tables=["changelog:listener"])
    assert {verdict.suite: [f.measure for f in verdict.failures] for _, verdict in found} == {
        "speed:listener": [
            "be_between(plays_1h)",
            "be_between(plays_1h_less_plays_1m)",
            "be_between(valence_last_20)",
        ],
        "backfill:listener": [],
    }
    assert found[0][1].failures[0].since == datetime(2018, 11, 6, 7, tzinfo=UTC)
    write_rows(settings.lake, LISTENER, changelog_rows(WEEK[1])[:5], name="part-again")
    [(_, speed), _] = check_quality(settings, load_declarations(), day=WEEK[1], tables=["changelog:listener"])
    assert "be_unique(entity_and_time)" in [f.measure for f in speed.failures]
    with pytest.raises(UnknownName, match="did you mean 'changelog:listener'"):
        check_quality(settings, load_declarations(), tables=["changelog:listner"])
    with pytest.raises(InputError, match="events: there is none in"):
        check_quality(settings, load_declarations(), tables=["events"])


# --- training sets -------------------------------------------------------------------------------------------------


def training_set(path: Path, rows: list[dict[str, Any]], *, plays: pa.DataType) -> Path:
    """A set of a few features, with its manifest, which says that it has three rows."""
    schema = {"user_id": pa.string(), "track_id": pa.string(), "artist_id": pa.string()}
    features = {"listener__plays_1m": pa.int64(), "listener__plays_1h": plays, "listener__skip_rate_1h": pa.float64()}
    stamp = {"event_timestamp": pa.timestamp("us", tz="UTC")}
    full = [dict.fromkeys([*schema, *features]) | row for row in rows]
    pq.write_table(pa.Table.from_pylist(full, schema=pa.schema(schema | stamp | features)), path)
    Manifest(
        service="listener_v1",
        version=1,
        fingerprints={},
        features=[*features],
        defaults={},
        engine="duckdb",
        cut="as-served",
        inputs={},
        spine="",
        spine_sha256="",
        rows=3,
        rows_at_once=10,
    ).write(path)
    return path


@pytest.mark.spark
@pytest.mark.parametrize("most", [training_sets.VALUES_IN_PROCESS, 0], ids=["in this process", "on Spark"])
def test_training_sets_are_judged_by_their_manifest(
    spark: SparkSession,  # noqa: F811
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(training_sets, "VALUES_IN_PROCESS", most)
    settings.home.mkdir(exist_ok=True)
    when = [{"event_timestamp": datetime(2018, 11, 8, hour, tzinfo=UTC), "user_id": "u"} for hour in (5, 6, 7)]
    good = training_set(
        settings.home / "set.parquet", [one | {"listener__plays_1h": 1} for one in when], plays=pa.int64()
    )
    assert failed(training_sets.check_training_set(settings, load_declarations(), good)) == []
    negative = {"listener__plays_1m": 2, "listener__plays_1h": -1}
    bad = training_set(settings.home / "bad.parquet", [when[0], when[0], when[1] | negative, when[2]], plays=pa.int64())
    assert failed(training_sets.check_training_set(settings, load_declarations(), bad)) == [
        ("table_row_count_to_equal", None, None),
        ("column_values_to_be_unique", "entity_and_time", 2),
        ("column_values_to_be_between", "listener__plays_1h", 1),
        ("column_values_to_be_between", "listener__plays_1h_less_listener__plays_1m", 1),
    ]
    texts = training_set(
        settings.home / "texts.parquet", [one | {"listener__plays_1h": 1.5} for one in when], plays=pa.float64()
    )
    verdict = training_sets.check_training_set(settings, load_declarations(), texts)
    assert [f.measure for f in verdict.failures] == ["type(listener__plays_1h)"]
    (standing,) = (one.reading for one in standings(settings) if one.reading.measure == "failures")
    assert (standing.subject, standing.ok) == ("listener_v1", False)
    options = ["--training-set", str(texts), "--home", str(settings.home), "--json"]
    ran = CliRunner().invoke(app, ["check", "quality", *options])
    assert (ran.exit_code, json.loads(ran.stdout)["listener_v1"]["success"]) == (1, False)
    assert "listener_v1: expect_column_values_to_be_in_set(type(listener__plays_1h))" in ran.stderr
