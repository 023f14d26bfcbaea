"""`playhead eval` and `playhead.testing`: declarations and events → values, without a stack."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features.listener import listener, listener_daily, session_
from playhead.cli import app
from playhead.config import PROJECT
from playhead.declarations import load_declarations
from playhead.errors import InputError, UnknownName
from playhead.evaluate import evaluate
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from playhead.testing import assert_values, events_of
from tests.parity.streams import as_table, moments, random_events
from tests.spark import spark  # noqa: F401

SERVICE = load_declarations().service("listener_v1")

SKIPS = """
    at                      | user_id | event_type | track_id | ms_played
    2025-03-01 23:59:00     | ada     | PLAY       | t1       |
    2025-03-01 23:59:04.999 | ada     | SKIP       | t1       | 4999
    2025-03-02 00:00:00     | ada     | PLAY       | t2       |
"""


def spine_of(events: list[dict[str, Any]], seed: int, size: int) -> pa.Table:
    """Rows about any listener, track and artist of the stream, and strangers, where values are about to change."""
    times = moments(events, seed, size)
    n = len(events)
    return pa.table(
        {
            "user_id": [[events[i % n]["user_id"], "nobody", None][i % 7 % 3 if i % 7 > 4 else 0] for i in range(size)],
            "track_id": [events[(i * 3) % n]["track_id"] for i in range(size)],
            "artist_id": [events[(i * 5) % n]["artist_id"] for i in range(size)],
            EVENT_TIMESTAMP: pa.array([time_ms * 1_000 for time_ms in times], MOMENT),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_duckdb_and_the_oracle_give_the_same_training_rows(seed: int) -> None:
    events = random_events(seed, 150)
    spine = spine_of(events, seed, 150)
    by_oracle = evaluate(SERVICE, as_table(events), spine, "oracle")
    assert evaluate(SERVICE, as_table(events), spine).equals(by_oracle)
    assert by_oracle["listener_daily__plays_7d"].null_count < spine.num_rows


@pytest.mark.spark
def test_spark_gives_them_too(spark: Any) -> None:  # noqa: F811
    events = random_events(9, 150)
    spine = spine_of(events, 9, 150)
    assert evaluate(SERVICE, as_table(events), spine, "spark").equals(evaluate(SERVICE, as_table(events), spine))


def test_without_events_windows_are_empty_and_the_rest_is_null() -> None:
    spine = spine_of(random_events(1, 10), 1, 5)
    for engine in ("duckdb", "oracle"):
        (row, *_) = evaluate(SERVICE, as_table([]), spine, engine).to_pylist()
        assert row["listener__plays_1h"] == 0
        assert row["listener__last_5_tracks"] is None
        assert row["session__session_start"] is None
        assert row["listener_daily__plays_7d"] == 0


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown engine 'sparc'"):
        evaluate(SERVICE, as_table([]), spine_of(random_events(1, 10), 1, 5), "sparc")


# --- tables in a test ----------------------------------------------------------------------------------------------


def test_windows_in_a_table() -> None:
    assert_values(
        listener,
        SKIPS,
        """
        at                      | user_id | plays_1m | plays_1h | early_skips_1h | skip_rate_1h | last_5_tracks
        2025-03-01 23:59:00.999 | ada     | 0        | 0        | 0              |              |
        2025-03-01 23:59:01     | ada     | 1        | 1        | 0              | 0            | t1
        2025-03-01 23:59:05     | ada     | 1        | 1        | 1              | 1            | t1
        2025-03-02 00:00:00.999 | ada     | 1        | 1        | 1              | 1            | t1
        2025-03-02 00:00:01     | ada     | 1        | 2        | 1              | 0.5          | t2 t1
        2025-03-02 00:00:01     | bob     | 0        | 0        | 0              |              |
        """,
    )


def test_sessions_and_days_in_a_table() -> None:
    assert_values(
        session_,
        SKIPS,
        """
        at                      | user_id | session_start | session_plays | session_listen_ms
        2025-03-02 00:30:00     | ada     | 1740873540000 | 2             | 4999
        2025-03-02 00:30:01     | ada     |               |               |
        """,
    )
    assert_values(
        listener_daily,
        SKIPS,
        """
        at                      | user_id | plays_7d | plays_30d | skips_7d
        2025-03-01 23:59:00     | ada     | 0        | 0         | 0
        2025-03-01 23:59:59     | ada     | 1        | 1         | 1
        2025-03-02 00:00:00     | ada     | 1        | 1         | 1
        2025-03-02 00:00:01     | ada     | 2        | 2         | 1
        2025-03-07 23:59:59     | ada     | 2        | 2         | 1
        2025-03-08              | ada     | 1        | 2         | 0
        2025-03-30 23:59:59     | ada     | 0        | 2         | 0
        2025-04-20              | ada     | 0        | 0         | 0
        """,
    )


def test_what_differs_is_named_by_engine_line_and_feature() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_values(listener, SKIPS, "at | user_id | plays_1h\n2025-03-02 00:00:01 | ada | 3")
    assert str(raised.value).splitlines()[0] == "duckdb: line 1 (2025-03-02 00:00:01): plays_1h is 2, expected 3"
    assert str(raised.value).splitlines()[1].startswith("oracle: line 1")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("at | user_id", "a header and at least one line"),
        ("at | usr_id\n2025-03-01 | ada", "unknown column 'usr_id'.*did you mean 'user_id'"),
        ("user_id | event_type\nada | PLAY", "no column 'at'"),
        ("at | user_id\n2025-03-01 | ada | x", "line 1: 3 cells, expected 2"),
        ("at | user_id\nnoon | ada", "line 1: at is 'noon'"),
        ("at | ms_played\n2025-03-01 | soon", "line 1: ms_played is 'soon', expected int64"),
        ("at | event_type\n2025-03-01 | SKIPP", "line 1: event_type is 'SKIPP'; known: PLAY"),
    ],
)
def test_a_table_that_cannot_be_read(table: str, problem: str) -> None:
    with pytest.raises((InputError, UnknownName), match=problem):
        events_of(table)


def test_expected_values_need_the_key() -> None:
    with pytest.raises(InputError, match="no column 'user_id' in at, plays_1h"):
        assert_values(listener, SKIPS, "at | plays_1h\n2025-03-02 | 0")


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A log of two good events, one of them twice, a bad one and a broken line; and a spine."""
    play = {"event_id": "a", "user_id": "ada", "track_id": "t", "event_type": "PLAY", "content_type": "SONG"}
    rows: list[dict[str, Any]] = [
        play | {"event_time_ms": 1_740_823_200_000},
        play | {"event_time_ms": 1_740_823_200_000},
        play | {"event_id": "b", "event_time_ms": 1_740_823_260_000},
        play | {"event_id": "c", "event_time_ms": 1_740_823_270_000, "position_ms": -5},
    ]
    events = tmp_path / "events.jsonl.gz"
    events.write_bytes(gzip.compress("\n".join([*map(json.dumps, rows), "{broken"]).encode()))
    spine = tmp_path / "spine.csv"
    spine.write_text("user_id,event_timestamp,label\nada,2025-03-01T10:01:01Z,1\nbob,2025-03-01T10:01:01Z,0\n")
    return events, spine


def test_the_command_writes_a_row_per_row_of_the_spine(files: tuple[Path, Path], tmp_path: Path) -> None:
    events, spine = files
    output = tmp_path / "out.parquet"
    argv = ["eval", "--events", str(events), "--format", "native", "--spine", str(spine), "--group", "listener"]
    done = CliRunner().invoke(app, [*argv, "--output", str(output), "--home", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    counted = {name: summary[name] for name in ("rows", "events", "duplicates", "invalid", "engine")}
    assert counted == {
        "rows": 2, "events": 2, "duplicates": 1, "invalid": {"out_of_range:position_ms": 1}, "engine": "duckdb",
    }  # fmt: skip
    assert sum(summary["skipped"].values()) == 1
    table = pq.read_table(output)
    assert table.column_names[:3] == ["user_id", EVENT_TIMESTAMP, "label"]
    assert table["listener__plays_1h"].to_pylist() == [2, 0]
    assert table["listener__plays_1m"].to_pylist() == [1, 0]
    again = [*argv[:6], str(output), *argv[7:], "--output", str(tmp_path / "again.parquet"), "--home", str(tmp_path)]
    refused = CliRunner().invoke(app, again)
    assert f"it already has {sorted(table.column_names[3:])[0]}, " in str(refused.exception)
    assert not (tmp_path / "again.parquet").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--group", "listner"], "did you mean 'listener'"),
        ([], "give --service or --group"),
        (["--group", "listener", "--engine", "duck"], "unknown engine 'duck'"),
        (["--group", "track"], "no column track_id"),
    ],
)
def test_the_command_says_what_is_wrong(
    files: tuple[Path, Path], tmp_path: Path, options: list[str], problem: str
) -> None:
    argv = ["eval", "--events", str(files[0]), "--format", "native", "--spine", str(files[1])]
    argv += ["--output", str(tmp_path / "out.parquet"), "--home", str(tmp_path), *options]
    done = subprocess.run([PROJECT / ".venv" / "bin" / "playhead", *argv], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert problem in " ".join(done.stderr.replace("│", "").split())
    assert not (tmp_path / "out.parquet").exists()
