"""Batch days and backfill on Spark and Delta, with a real online store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from playhead import oracle
from playhead.batch.backfill import backfill
from playhead.batch.daily import DailyRun, run_days
from playhead.checks import results
from playhead.checks.verdicts import Override
from playhead.config import Settings
from playhead.days import DAY, end_ms_of
from playhead.declarations import load_declarations
from playhead.dimensions import arrow_schema
from playhead.errors import InputError, QualityError, StackError, UnknownName
from playhead.lake_files import event_days
from playhead.local.changelog import changelog
from playhead.published import published
from playhead.serving.dimension_table import load_dimension, read_dimension
from playhead.serving.online import open_online_store
from playhead.serving.online_merge import OnlineMerge
from playhead.serving.reading import Status
from tests.lake import write_events
from tests.memory import read_at, values_of
from tests.parity.streams import START_MS, as_table, random_events
from tests.spark import small_queries, spark  # noqa: F401 — the fixtures

pytestmark = pytest.mark.spark

PLANS = {plan.name: plan for plan in load_declarations().daily_plans}
LISTENER = PLANS["listener_daily"]
# Five times as dense, so that a week is enough.
EVENTS = [e | {"event_time_ms": START_MS + (e["event_time_ms"] - START_MS) // 5} for e in random_events(3, 500)]


@dataclass(frozen=True)
class Week:
    """A home whose last two days were published, and what the run said."""

    settings: Settings
    days: list[date]
    done: DailyRun

    def copy(self, home: Path) -> Settings:
        """Settings of a copy of the home, on the same online store."""
        shutil.copytree(self.settings.home / "lake", home / "lake")
        return self.settings.model_copy(update={"home": home})


@pytest.fixture(scope="module")
def week(online: Settings, spark: SparkSession) -> Week:  # noqa: F811
    write_events(online.lake, EVENTS)
    tracks = {**dict.fromkeys(("t1", "t2", "t3")), "t0": "jazz"}
    load_dimension(online, load_declarations(), "track", [track_file(online.home, tracks)])
    days = event_days(online.lake)
    return Week(online, days, run_days(online, days[-2:]))


def track_file(home: Path, genres: Mapping[str, str | None]) -> Path:
    """Tracks of which nothing is known but the genre."""
    dimension = load_declarations().dimension("track")
    rows = [dict.fromkeys(dimension.columns) | {"track_id": track, "genre": genre} for track, genre in genres.items()]
    file = home / "tracks.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(dimension).remove(1)), file)
    return file


def columns_of(path: Path) -> list[str]:
    names: list[str] = DeltaTable(str(path)).to_pyarrow_dataset().schema.names
    return names


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a Delta table, without the time they were written, in an order of their own."""
    names = [name for name in columns_of(path) if name != "created_at"]
    return sorted(DeltaTable(str(path)).to_pyarrow_table(columns=names).to_pylist(), key=str)


def naive_plays(events: list[dict[str, Any]], user: str, day: date, days: int) -> int:
    end = end_ms_of(day)
    inside = [e for e in events if end - days * 86_400_000 <= e["event_time_ms"] < end]
    return sum(e["user_id"] == user and e["event_type"] == "PLAY" for e in inside)


def test_views_hold_the_days_before_their_time(week: Week) -> None:
    assert week.done.days == tuple(week.days[-2:])
    assert (week.done.computed, week.done.events) == (len(week.days), len(EVENTS))
    view = week.settings.lake / "views" / "listener_daily"
    assert columns_of(view) == ["user_id", "event_timestamp", *LISTENER.numbers, "created_at", "dt"]
    assert {name for name, _ in LISTENER.schema} - {*LISTENER.numbers} == {"top_genres_30d", "top_artists_30d"}
    rows = rows_of(view)
    assert {row["dt"] for row in rows} == {str(day) for day in week.done.days}
    for row in rows:
        day = date.fromisoformat(row["dt"])
        assert row["event_timestamp"] == datetime.fromtimestamp(end_ms_of(day) / 1000, UTC)
        assert row["plays_7d"] == naive_plays(EVENTS, row["user_id"], day, 7)
        assert row["plays_30d"] == naive_plays(EVENTS, row["user_id"], day, 30)


def test_genres_come_from_the_catalog(week: Week) -> None:
    rows = rows_of(week.settings.lake / "views" / "taste_profile")
    assert rows
    assert all(row["genres"] == [{"genre": "jazz", "share": 1.0}] for row in rows)


def online_row(settings: Settings, user: str, at_ms: int) -> tuple[Status, int | None, dict[str, Any]]:
    """What is merged online of a listener without a row of the speed layer."""
    with open_online_store(settings.redis) as store:
        found = read_at(store, OnlineMerge(LISTENER), [user], at_ms)
    (status,), (stamp,), (values,) = found.status.tolist(), found.stamps.to_list(), values_of(found)
    return Status(status), stamp, values


def test_the_online_store_gets_the_windows_and_lists(week: Week) -> None:
    end_ms = end_ms_of(week.days[-1])
    status, stamp, values = online_row(week.settings, "u0", end_ms)
    assert (status, stamp) == (Status.PRESENT, end_ms)
    assert values["plays_30d"] == naive_plays(EVENTS, "u0", week.days[-1], 29)
    known = {"track": read_dimension(week.settings.lake, load_declarations().dimension("track")).to_pylist()}
    group = load_declarations().group("listener_daily")
    assert values == oracle.values_at(group, oracle.enriched(group, EVENTS, known), "u0", end_ms)
    assert values["top_genres_30d"] == ["jazz"]
    stranger, _, empty = online_row(week.settings, "nobody", end_ms)
    assert (stranger, empty["plays_30d"]) == (Status.MISSING, 0)
    assert online_row(week.settings, "u0", end_ms + 3 * 86_400_000)[0] == Status.STALE
    with open_online_store(week.settings.redis) as store:
        everybody, own = store.read_list("top_tracks"), store.read_list("top_tracks", "u0")
        songs = store.read_list("pool", "SONG")
    assert set(own or []) <= set(everybody or [])
    assert len(everybody or []) == 4
    assert set(songs or []) == set(everybody or [])
    assert week.done.online["listener_daily"].written == len({event["user_id"] for event in EVENTS})


def test_the_mark_and_the_results_say_what_was_published(week: Week) -> None:
    mark = published(week.settings.lake)
    assert mark is not None
    assert mark.days == tuple(week.days[-2:])
    assert (results.load(week.settings, "batch") or {})["published"] == str(week.days[-1])
    judged = (results.load(week.settings, "quality") or {})["days"]
    assert list(judged) == [str(day) for day in week.days[-2:]]
    assert all(set(day["suites"]) == {"events", *PLANS} and day["success"] for day in judged.values())


def test_running_a_day_again_changes_nothing(week: Week, tmp_path: Path) -> None:
    settings = week.copy(tmp_path / "home")
    tables = sorted(f for kind in ("daily", "views") for f in (settings.lake / kind).iterdir() if f.is_dir())
    assert {table.name for table in tables} >= {
        *PLANS,
        "listening",
        "track_popularity",
        "taste_profile",
        "top_tracks",
        "pool",
    }
    before = {table: rows_of(table) for table in tables}
    assert run_days(settings, week.days[-1:]).computed == 1
    assert {table: rows_of(table) for table in tables} == before


def test_a_late_event_corrects_its_day(week: Week, tmp_path: Path) -> None:
    settings = week.copy(tmp_path / "home")
    play = next(e for e in EVENTS if e["event_type"] == "PLAY")
    late = play | {"event_id": "late", "event_time_ms": end_ms_of(week.days[-4]) - 1, "late": True}
    write_events(settings.lake, [late], name="part-late")
    assert run_days(settings, week.days[-1:]).computed == 2
    rows = {(r["user_id"], r["dt"]): r for r in rows_of(settings.lake / "views" / "listener_daily")}
    expected = naive_plays([*EVENTS, late], late["user_id"], week.days[-1], 30)
    assert rows[late["user_id"], str(week.days[-1])]["plays_30d"] == expected


def test_a_day_that_fails_is_not_published_and_those_before_it_are(week: Week, tmp_path: Path) -> None:
    settings = week.settings.model_copy(update={"home": tmp_path})
    good, bad, after = week.days[-3:]
    others = [e | {"user_id": e["user_id"].replace("u", "v")} for e in EVENTS]
    write_events(settings.lake, [e for e in others if e["event_time_ms"] >= end_ms_of(good) - 86_400_000])
    write_events(
        settings.lake, [others[-1] | {"event_type": "HUM", "event_time_ms": end_ms_of(bad) - 1}], name="part-1"
    )
    with pytest.raises(QualityError) as raised:
        run_days(settings, [good, bad, after])
    assert f"{bad} is not published: events: expect_column_values_to_be_in_set(event_type)" in str(raised.value)
    assert "1 unexpected, observed ['HUM']" in str(raised.value)
    assert f"the last published day is {good}" in str(raised.value)
    mark = published(settings.lake)
    assert mark is not None
    assert mark.day == good
    for table in ("views/listener_daily", "views/top_tracks", "daily/listener_daily"):
        assert {r["dt"] for r in rows_of(settings.lake / table)} == {str(good)}
    assert online_row(settings, "v0", end_ms_of(good))[1] == end_ms_of(good)
    judged = (results.load(settings, "quality") or {})["days"]
    assert {day: one["success"] for day, one in judged.items()} == {str(good): True, str(bad): False}


def test_a_day_whose_events_fail_writes_nothing(online: Settings, tmp_path: Path) -> None:
    home = online.model_copy(update={"home": tmp_path})
    write_events(home.lake, [EVENTS[0] | {"user_id": None}])
    with pytest.raises(QualityError, match=r"expect_column_values_to_not_be_null\(user_id\).*no day is published"):
        run_days(home, event_days(home.lake))
    assert not (home.lake / "views").exists()
    assert not (home.lake / "daily").exists()
    # A person may publish it all the same, and answers for it.
    (day,) = event_days(home.lake)
    done = run_days(home, [day], override=Override(by="ana", reason="a test account"))
    assert (done.days, done.despite) == ((day,), (day,))
    mark = published(home.lake)
    assert mark is not None and mark.day == day
    (kept,) = DeltaTable(str(home.lake / "checks" / "overrides")).to_pyarrow_table().to_pylist()
    assert (kept["day"], kept["by"], kept["reason"]) == (day, "ana", "a test account")
    assert kept["failed"][0].startswith("events: expect_column_values_to_not_be_null(user_id): 1 unexpected")
    assert (results.load(home, "quality") or {})["days"][str(day)]["override"]["reason"] == "a test account"


def test_a_day_without_events_is_not_published(online: Settings, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="2018-12-31 is not published: events: expect_table_row_count"):
        run_days(online.model_copy(update={"home": tmp_path}), [date(2018, 12, 31)])


def test_without_the_online_store_nothing_begins(settings: Settings) -> None:
    write_events(settings.lake, EVENTS)
    with pytest.raises(StackError, match="Redis"):
        run_days(settings, event_days(settings.lake))
    assert not (settings.lake / "daily").exists()


def test_no_day_is_an_error_and_so_is_one_that_is_not_over(settings: Settings) -> None:
    with pytest.raises(InputError, match="no day"):
        run_days(settings, [])
    with pytest.raises(InputError, match="is not over in UTC"):
        run_days(settings, [datetime.now(UTC).date()])


# --- backfill ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", load_declarations().speed_plans, ids=lambda plan: plan.name)
def test_the_backfill_is_the_changelog(spark: SparkSession, settings: Settings, plan: Any) -> None:  # noqa: F811
    write_events(settings.lake, EVENTS)
    done = backfill(settings, groups=[plan.name])
    rows = DeltaTable(str(settings.lake / "backfill" / plan.name)).to_pyarrow_table().to_pylist()
    assert done.rows == {plan.name: len(rows)}
    expected = changelog(plan, as_table(EVENTS)).to_pylist()
    names = [name for name, _ in plan.schema]
    found = {
        (r[plan.key], round(r["event_timestamp"].timestamp() * 1000)): ([r[n] for n in names], r["dt"]) for r in rows
    }
    assert found == {
        (r[plan.key], r["event_timestamp_ms"]): (
            [r[n] for n in names],
            datetime.fromtimestamp(r["event_timestamp_ms"] / 1000, UTC).date().isoformat(),
        )
        for r in expected
    }


def test_a_range_is_replaced_and_the_rest_stays(spark: SparkSession, settings: Settings) -> None:  # noqa: F811
    write_events(settings.lake, EVENTS)
    day = event_days(settings.lake)[2]
    table = settings.lake / "backfill" / "listener"
    backfill(settings, groups=["listener"])
    before = rows_of(table)
    late = {"event_id": "late", "event_time_ms": end_ms_of(day) - 7_200_000, "late": True}
    write_events(settings.lake, [next(e for e in EVENTS if e["event_type"] == "PLAY") | late], name="part-late")
    done = backfill(settings, first=day, last=day, groups=["listener"])
    after = rows_of(table)
    inside, outside = (
        [[r for r in rows if (r["dt"] == str(day)) is own] for rows in (before, after)] for own in (True, False)
    )
    assert outside[0] == outside[1]
    assert inside[0] != inside[1]
    assert done.rows == {"listener": len(inside[1])}
    backfill(settings, first=day, last=day, groups=["listener"])
    assert rows_of(table) == after


def test_a_range_alone_equals_the_same_range_of_everything(spark: SparkSession, settings: Settings) -> None:  # noqa: F811
    write_events(settings.lake, EVENTS)
    days = event_days(settings.lake)
    table = settings.lake / "backfill" / "session"
    backfill(settings, groups=["session"])
    whole = rows_of(table)
    shutil.rmtree(table)
    backfill(settings, first=days[2], last=days[4], groups=["session"])
    assert rows_of(table) == [r for r in whole if days[2].isoformat() <= r["dt"] <= days[4].isoformat()]


def late_event(day: date, number: int = 0) -> dict[str, Any]:
    """A play that comes after its day was made, in its last hours."""
    play = next(e for e in EVENTS if e["event_type"] == "PLAY")
    return play | {"event_id": f"late{number}", "event_time_ms": end_ms_of(day) - 7_200_000, "late": True}


def test_what_is_made_stays_as_it_is(spark: SparkSession, settings: Settings) -> None:  # noqa: F811
    write_events(settings.lake, EVENTS)
    done = backfill(settings, groups=["track"])
    version = DeltaTable(str(settings.lake / "backfill" / "track")).version()
    again = backfill(settings, groups=["track"])
    assert (again.days, again.events, again.rows) == ({"track": 0}, 0, done.rows)
    assert DeltaTable(str(settings.lake / "backfill" / "track")).version() == version
    assert backfill(settings, groups=["track"], again=True).days == done.days


def test_years_without_events_are_no_work(spark: SparkSession, settings: Settings) -> None:  # noqa: F811
    later = [e | {"event_id": f"later{i}", "event_time_ms": e["event_time_ms"] + 3_000 * 86_400_000}
             for i, e in enumerate(EVENTS[:50])]  # fmt: skip
    write_events(settings.lake, EVENTS)
    before = backfill(settings, groups=["track"])
    write_events(settings.lake, later, name="part-later")
    done = backfill(settings, groups=["track"])
    assert done.days["track"] <= 5
    assert done.rows["track"] > before.rows["track"]


def test_a_backfill_that_was_stopped_goes_on(
    spark: SparkSession,  # noqa: F811
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_events(settings.lake, EVENTS)
    table = settings.lake / "backfill" / "track"
    whole = backfill(settings, groups=["track"])
    expected = rows_of(table)
    shutil.rmtree(table.parent)
    monkeypatch.setattr("playhead.batch.backfill.DAYS_AT_ONCE", 2)

    def stop(what: str) -> None:
        if "left" in what:
            raise KeyboardInterrupt

    # Its days are on record as made, as after `--again` or after a table was removed; the stopped run takes that back.
    backfill(settings, groups=["track"])
    with pytest.raises(KeyboardInterrupt):
        backfill(settings, groups=["track"], again=True, progress=stop)
    told: list[str] = []
    rest = backfill(settings, groups=["track"], progress=told.append)
    assert rest.days["track"] == whole.days["track"] - 2
    assert rows_of(table) == expected
    assert any("left" in what for what in told)


def test_late_events_heal_the_days_they_touch_and_no_other(spark: SparkSession, settings: Settings) -> None:  # noqa: F811
    write_events(settings.lake, EVENTS)
    table, day = settings.lake / "backfill" / "track", event_days(settings.lake)[2]
    backfill(settings, groups=["track"])
    before = rows_of(table)
    assert backfill(settings, groups=["track"], heal=True).days == {"track": 0}
    write_events(settings.lake, [late_event(day)], name="part-late")
    done = backfill(settings, groups=["track"], heal=True)
    healed = rows_of(table)
    # The day itself, and the two that its windows of a day reach into.
    assert done.days == {"track": 3}
    found = done.corrections["track"]
    assert set(found.days) <= {str(day + n * DAY) for n in range(3)}
    assert str(day) in found.days
    assert (found.added, found.removed) == (len({key(r) for r in healed} - {key(r) for r in before}), 0)
    assert found.changed > 0
    assert found.features["plays_1d"].largest == 1
    assert "skips_1h" not in found.features
    shutil.rmtree(table.parent)
    backfill(settings, groups=["track"])
    assert rows_of(table) == healed


def test_a_version_of_a_track_heals_the_days_from_which_it_holds(
    spark: SparkSession,  # noqa: F811
    online: Settings,
    tmp_path: Path,
) -> None:
    settings = online.model_copy(update={"home": tmp_path})
    write_events(settings.lake, EVENTS)
    declared, days = load_declarations(), event_days(settings.lake)
    file = track_file(settings.home, {"t0": "jazz", "t1": "pop"})
    load_dimension(settings, declared, "track", [file])
    made = backfill(settings, groups=["listener_daily__today", "track"])
    load_dimension(settings, declared, "track", [file])
    assert not any(backfill(settings, groups=["listener_daily__today"]).days.values())
    since = datetime.combine(days[-2], time.min, UTC)
    other = track_file(settings.home, {"t0": "polka"})
    assert load_dimension(settings, declared, "track", [other], valid_from=since).new == 1
    healed = backfill(settings, groups=["listener_daily__today", "track"], heal=True)
    assert healed.days["track"] == 0, "a group that is not enriched"
    assert 0 < healed.days["listener_daily__today"] < made.days["listener_daily__today"]
    assert min(healed.corrections["listener_daily__today"].days) >= str(days[-2])
    plan = next(plan for plan in declared.speed_plans if plan.name == "listener_daily__today")
    tracks = {"track": read_dimension(settings.lake, declared.dimension("track"))}
    expected = changelog(plan, as_table(EVENTS), tracks)
    rows = rows_of(settings.lake / "backfill" / plan.name)
    assert sorted((r["user_id"], r["top_genres"] or "", r["plays"]) for r in rows) == sorted(
        (r["user_id"], r["top_genres"] or "", r["plays"]) for r in expected.to_pylist()
    )


def key(row: dict[str, Any]) -> tuple[str, datetime]:
    return row["track_id"], row["event_timestamp"]


def test_a_backfill_that_cannot_be_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="no events"):
        backfill(settings)
    with pytest.raises(InputError, match="before it begins"):
        backfill(settings, first=date(2018, 11, 2), last=date(2018, 11, 1))
    with pytest.raises(UnknownName, match="did you mean 'listener'"):
        backfill(settings, groups=["listner"])
    write_events(settings.lake, EVENTS)
    with pytest.raises(InputError, match="has no rows from 2030-01-01 on: the last event is of 2018-11-"):
        backfill(settings, first=date(2030, 1, 1))


# --- the session ---------------------------------------------------------------------------------------------------

_TWICE = """
import sys
from pathlib import Path
from pyspark import SparkContext
from playhead.batch.session import spark_session
from playhead.config import Settings
from playhead.days import DAY, end_ms_of

for _ in range(2):
    with spark_session(Settings(home=Path(sys.argv[1]))) as spark:
        assert spark.range(3).count() == 3
        print(SparkContext._gateway.proc.pid)
"""


def test_a_session_leaves_no_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _TWICE, str(tmp_path)], capture_output=True, text=True, check=True)
    pids = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert len(set(pids)) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "WARN" not in done.stderr
