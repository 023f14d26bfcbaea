"""The whole path, run as a user runs it, against counts made apart from it.

Tests with `made_up` in their name are of the demo on made-up events, which another process may run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.conftest import settings_on_free_ports
from tests.e2e import naive
from tests.e2e.command import command, left_running, playhead
from tests.polling import PATIENCE

pytestmark = pytest.mark.e2e

EVENTSIM = Path(os.environ.get("EVENTSIM", Path(__file__).parents[3] / "shared" / "data" / "eventsim.jsonl.gz"))


def read(folder: Path) -> list[dict[str, Any]]:
    return ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist()


class Demo:
    """A finished demo: its home and the JSON that it printed."""

    def __init__(self, home: Path, *arguments: object) -> None:
        self.home = settings_on_free_ports(home).home
        done = playhead(self.home, "demo", "--json", *arguments)
        assert done.returncode == 0, done.stderr[-6000:]
        self.found: dict[str, Any] = json.loads(done.stdout)


@pytest.fixture(scope="module")
def eventsim(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    if not EVENTSIM.is_file():
        pytest.skip(f"{EVENTSIM} is not here; the variable EVENTSIM says where it is")
    return Demo(tmp_path_factory.mktemp("eventsim") / "home", "--input", EVENTSIM, "--format", "eventsim")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("made-up") / "home")


def test_every_record_of_the_file_has_its_place(eventsim: Demo) -> None:
    found, events = eventsim.found, naive.read(EVENTSIM)
    assert (
        found["sent"] == len(events) == found["lake_rows"] + found["duplicates"] + sum(found["dead_letters"].values())
    )
    assert found["adds_up"]
    assert found["late"] == 0


def test_sessions_are_those_of_the_thirty_minute_rule(eventsim: Demo) -> None:
    expected = naive.sessions(naive.read(EVENTSIM))
    closed = {
        (s["user_id"], s["session_start_ms"], s["session_end_ms"], s["events"])
        for s in read(eventsim.home / "lake/sessions")
    }
    assert closed < expected
    assert eventsim.found["sessions"] == {"closed": len(closed), "open": len(expected) - len(closed)}
    last = max(end for _, _, end, _ in expected)
    assert all(last - end <= naive.SESSION_GAP for _, _, end, _ in expected - closed), "only live sessions are open"


def test_training_rows_equal_a_naive_count_of_the_file(eventsim: Demo) -> None:
    events = naive.read(EVENTSIM)
    songs = {track_id(e.song): e.song for e in events}
    rows = pq.read_table(eventsim.home / "demo" / "training_set.parquet").to_pylist()
    assert len(rows) == eventsim.found["training_rows"] == 1000
    known = {7: 0, 30: 0}
    for row in random.Random(3).sample(rows, 200):
        now = int(row["event_timestamp"].timestamp() * 1000)
        expected = naive.listener(events, row["user_id"], now) | naive.content(events, songs[row["track_id"]], now)
        if expected["listener__last_5_tracks"]:
            expected["listener__last_5_tracks"] = [track_id(song) for song in expected["listener__last_5_tracks"]]
        for days in (days for days in known if row[f"listener_daily__plays_{days}d"] is not None):
            expected |= naive.daily(events, row["user_id"], now, days)
            known[days] += 1
        assert {name: row[name] for name in expected} == expected, row
    assert known == {7: 200, 30: 200}, "the last batch days have the partials of every day before them"


@pytest.mark.parametrize("name", ["eventsim", "made_up"])
def test_what_was_served_is_what_training_sees(name: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(name).found
    assert found["served_vectors"] == 1000
    assert found["skew"]["mismatches"] == 0
    assert found["skew"]["values"] > 10_000


@pytest.mark.parametrize("name", ["eventsim", "made_up"])
def test_backfill_equals_the_archive(name: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(name).found
    assert len(found["backfill"]) == 7
    for group in found["backfill"]:
        assert found["backfill"][group]["different"] == 0
        assert found["backfill"][group]["points"] == 1000


def test_made_up_tracks_are_known_to_the_stream_and_to_training(made_up: Demo) -> None:
    rows = pq.read_table(made_up.home / "demo" / "training_set.parquet")
    for column in ("listener__valence_last_20", "track_item__genre", "affinity__genre_affinity", "item__tempo_scaled"):
        assert rows[column].null_count < rows.num_rows / 2, column


def test_the_home_serves_afterwards_and_nothing_runs(eventsim: Demo, tmp_path: Path) -> None:
    assert left_running(eventsim.home) == []
    spine, output = tmp_path / "spine.csv", tmp_path / "training.parquet"
    spine.write_text("user_id,track_id,artist_id,event_timestamp\n39,a,b,2018-11-20T12:00:00Z\n")
    made = playhead(eventsim.home, "training-set", "--service", "listener_v1", "--spine", spine, "--output", output)
    assert made.returncode == 0, made.stderr
    assert pq.read_table(output).num_rows == 1
    page = tmp_path / "report.html"
    assert playhead(eventsim.home, "report", "--output", page).returncode == 0
    assert "13,640" in page.read_text()
    assert "Nothing found wrong" in page.read_text()


def test_made_up_events_come_out_as_their_truth_says(made_up: Demo) -> None:
    found, truth = made_up.found, made_up.found["truth"]
    assert truth["duplicates"] and truth["late"] and truth["dead_letters"]
    assert found["sent"] == truth["records"]
    assert found["duplicates"] == truth["duplicates"]
    assert found["dead_letters"] == truth["dead_letters"]
    expected = pq.read_table(made_up.home / "demo" / "truth" / "events.parquet")
    lake = ds.dataset(made_up.home / "lake" / "events", format="parquet", partitioning="hive").to_table()
    assert not pc.any(lake["late"]).as_py()
    assert (
        lake.select(expected.column_names)
        .sort_by("event_id")
        .equals(expected.cast(lake.select(expected.column_names).schema).sort_by("event_id"))
    )


def test_a_demo_that_is_ended_leaves_nothing_running(tmp_path: Path) -> None:
    home = settings_on_free_ports(tmp_path / "home").home
    with subprocess.Popen(command(home, "demo"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        assert any("submitting the speed job" in line for line in demo.stderr), "it ended before"
        assert left_running(home)
        demo.terminate()
        demo.communicate(timeout=PATIENCE)
    assert demo.returncode != 0
    assert left_running(home) == []


def track_id(song: tuple[str, str]) -> str:
    """The id that the importer gives to an artist's song."""
    from playhead.ingest.events import name_id

    return name_id(*song)
