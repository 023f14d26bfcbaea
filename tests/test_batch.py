"""Batch days and backfill on Spark and Delta, with a real online store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from playhead import stack as local_stack
from playhead.batch.backfill import backfill
from playhead.batch.daily import run_days
from playhead.batch.events import event_days
from playhead.batch.publish import published
from playhead.batch.tables import end_ms_of
from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError, QualityError, StackError, UnknownName
from playhead.local.changelog import changelog
from playhead.serving.online import open_online_store
from playhead.serving.packed import PackedRow, Packer
from tests.conftest import settings_on_free_ports
from tests.lake import write_events
from tests.parity.streams import START_MS, as_table, random_events
from tests.spark import spark  # noqa: F401 — the fixture

pytestmark = pytest.mark.spark

PLANS = {plan.name: plan for plan in load_declarations().daily_plans}
LISTENER = PLANS["listener_daily"]
# Five times as dense, so that a week is enough.
EVENTS = [e | {"event_time_ms": START_MS + (e["event_time_ms"] - START_MS) // 5} for e in random_events(3, 500)]


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose Redis runs; each test takes a home of its own and other users."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("online") / "home")
    try:
        local_stack.start(settings, ("redis",))
        yield settings
    finally:
        local_stack.stop(settings)


@pytest.fixture
def home(online: Settings, spark: SparkSession, tmp_path: Path) -> Iterator[Settings]:  # noqa: F811
    """An empty home on the running Redis, which is emptied at the end."""
    yield online.model_copy(update={"home": tmp_path / "home"})
    with open_online_store(online.redis) as store:
        for name in (*PLANS, "list.top_tracks"):
            store.delete(name)


def rows_of(path: Path, *columns: str) -> list[dict[str, Any]]:
    """Rows of a Delta table, without the time they were written, in an order of their own."""
    table = DeltaTable(str(path)).to_pyarrow_table()
    kept = (
        table.select(columns)
        if columns
        else table.drop_columns([c for c in ("created_at",) if c in table.column_names])
    )
    return sorted(kept.to_pylist(), key=str)


def naive_plays(events: list[dict[str, Any]], user: str, day: date, days: int) -> int:
    end = end_ms_of(day)
    inside = [e for e in events if end - days * 86_400_000 <= e["event_time_ms"] < end]
    return sum(e["user_id"] == user and e["event_type"] == "PLAY" for e in inside)


def test_a_day_is_published_and_running_it_again_changes_nothing(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    days = event_days(home.lake)
    done = run_days(home, days[-2:])
    assert done.days == tuple(days[-2:])
    assert done.computed == len(days)
    assert done.events == len(EVENTS)
    view = home.lake / "views" / "listener_daily"
    for row in rows_of(view):
        day = date.fromisoformat(row["dt"])
        assert row["event_timestamp"] == datetime.fromtimestamp(end_ms_of(day) / 1000, UTC)
        assert row["plays_7d"] == naive_plays(EVENTS, row["user_id"], day, 7)
        assert row["plays_30d"] == naive_plays(EVENTS, row["user_id"], day, 30)
    assert DeltaTable(str(view)).to_pyarrow_table().column_names == [
        "user_id", "event_timestamp", *(name for name, _ in LISTENER.schema), "created_at", "dt",
    ]  # fmt: skip
    folders = sorted(f for kind in ("daily", "views") for f in (home.lake / kind).iterdir() if f.is_dir())
    before = {folder: rows_of(folder) for folder in folders}
    assert {folder.name for folder in folders} >= {
        *PLANS,
        "listening",
        "track_popularity",
        "taste_profile",
        "top_tracks",
    }
    again = run_days(home, days[-1:])
    assert again.computed == 1
    assert {folder: rows_of(folder) for folder in folders} == before
    mark = published(home.lake)
    assert mark is not None
    assert mark.days == tuple(days[-2:])


def test_the_online_store_gets_rows_and_lists(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    last = event_days(home.lake)[-1]
    done = run_days(home, [last])
    with open_online_store(home.redis) as store:
        (row,) = store.read(Packer.of(LISTENER), ["u0"])
        everybody, own = store.read_list("top_tracks"), store.read_list("top_tracks", "u0")
    assert isinstance(row, PackedRow)
    assert row.event_timestamp_ms == end_ms_of(last)
    assert row.values["plays_30d"] == naive_plays(EVENTS, "u0", last, 30)
    assert set(own or []) <= set(everybody or [])
    assert len(everybody or []) == 4
    assert done.online["listener_daily"].written == done.views["listener_daily"]


def test_a_late_event_corrects_its_day(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    days = event_days(home.lake)
    run_days(home, days[-2:-1])
    play = next(e for e in EVENTS if e["event_type"] == "PLAY")
    late = play | {"event_id": "late", "event_time_ms": end_ms_of(days[-4]) - 1, "late": True}
    write_events(home.lake, [late], name="part-late")
    done = run_days(home, days[-1:])
    assert done.computed == 2
    rows = {(r["user_id"], r["dt"]): r for r in rows_of(home.lake / "views" / "listener_daily")}
    expected = naive_plays([*EVENTS, late], late["user_id"], days[-1], 30)
    assert rows[late["user_id"], days[-1].isoformat()]["plays_30d"] == expected


def test_a_day_that_fails_is_not_published_and_those_before_it_are(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    days = event_days(home.lake)
    broken = EVENTS[-1] | {"event_id": "broken", "event_type": "HUM", "event_time_ms": end_ms_of(days[-2]) - 1}
    write_events(home.lake, [broken], name="part-broken")
    with pytest.raises(QualityError) as raised:
        run_days(home, days[-3:])
    assert f"{days[-2]} is not published: events: expect_column_values_to_be_in_set(event_type)" in str(raised.value)
    assert "1 unexpected, observed ['HUM']" in str(raised.value)
    assert f"the last published day is {days[-3]}" in str(raised.value)
    mark = published(home.lake)
    assert mark is not None
    assert mark.day == days[-3]
    assert {r["dt"] for r in rows_of(home.lake / "views" / "listener_daily", "dt")} == {days[-3].isoformat()}
    assert max(r["dt"] for r in rows_of(home.lake / "daily" / "listener_daily", "dt")) == days[-3].isoformat()
    with open_online_store(home.redis) as store:
        (row,) = store.read(Packer.of(LISTENER), ["u0"])
    assert isinstance(row, PackedRow)
    assert row.event_timestamp_ms == end_ms_of(days[-3])
    kept = (results.load(home, "quality") or {})["days"]
    assert {day: one["success"] for day, one in kept.items()} == {
        days[-3].isoformat(): True,
        days[-2].isoformat(): False,
    }


def test_a_day_whose_first_gate_fails_writes_nothing(home: Settings) -> None:
    write_events(home.lake, [EVENTS[0] | {"user_id": None}])
    with pytest.raises(QualityError, match=r"expect_column_values_to_not_be_null\(user_id\).*no day is published"):
        run_days(home, event_days(home.lake))
    assert not (home.lake / "views").exists()
    assert not (home.lake / "daily").exists()


def test_a_day_without_events_is_not_published(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    with pytest.raises(QualityError, match="2018-12-31 is not published: events: expect_table_row_count"):
        run_days(home, [date(2018, 12, 31)])


def test_without_the_online_store_nothing_begins(settings: Settings) -> None:
    write_events(settings.lake, EVENTS)
    with pytest.raises(StackError, match="Redis"):
        run_days(settings, event_days(settings.lake))
    assert not (settings.lake / "daily").exists()


def test_no_day_is_an_error(settings: Settings) -> None:
    with pytest.raises(InputError, match="no day"):
        run_days(settings, [])


def test_genres_come_from_the_catalog(home: Settings) -> None:
    write_events(home.lake, EVENTS)
    catalog = home.lake / "catalog" / "tracks.parquet"
    catalog.parent.mkdir()
    pq.write_table(pa.table({"track_id": ["t0", "t1"], "artist_id": ["a", "a"], "genre": ["jazz", None]}), catalog)
    run_days(home, event_days(home.lake)[-1:])
    rows = rows_of(home.lake / "views" / "taste_profile")
    assert rows
    assert all(row["genres"] == [{"genre": "jazz", "share": 1.0}] for row in rows)


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
    days = event_days(settings.lake)
    table = settings.lake / "backfill" / "listener"
    backfill(settings, groups=["listener"])
    before = rows_of(table)
    late = next(e for e in EVENTS if e["event_type"] == "PLAY")
    write_events(settings.lake, [late | {"event_id": "late", "kafka_offset": 9_999, "late": True}], name="part-late")
    done = backfill(settings, first=days[0], last=days[0], groups=["listener"])
    after = rows_of(table)
    assert [r for r in after if r["dt"] > days[0].isoformat()] == [r for r in before if r["dt"] > days[0].isoformat()]
    assert [r for r in after if r["dt"] == days[0].isoformat()] != [r for r in before if r["dt"] == days[0].isoformat()]
    assert done.rows["listener"] == sum(r["dt"] == days[0].isoformat() for r in after)
    backfill(settings, first=days[0], last=days[0], groups=["listener"])
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


def test_a_backfill_that_cannot_be_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="no events"):
        backfill(settings)
    with pytest.raises(InputError, match="before it begins"):
        backfill(settings, first=date(2018, 11, 2), last=date(2018, 11, 1))
    with pytest.raises(UnknownName, match="did you mean 'listener'"):
        backfill(settings, groups=["listner"])


# --- the session ---------------------------------------------------------------------------------------------------

_TWICE = """
import sys
from pathlib import Path
from pyspark import SparkContext
from playhead.batch.session import spark_session
from playhead.config import Settings

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
