"""The rules of `docs/labels.md`, read naively; events and serves to read them on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from playhead.labels import SERVE, WAIT_MS, events_table, outcomes, served_table
from schemas.tables import lake_arrow_schema

NOON = 1_700_049_600_000
GAP_MS = 1_800_000
"""Of sessions, as they are declared."""

ENDS = {"SKIP": "skipped", "COMPLETE": "completed", "STOP": "stopped"}
Row = dict[str, Any]
SECOND, MINUTE = 1_000, 60_000
CONTENT = ["SONG", "VIDEO", "LIVE", "PODCAST_EPISODE", "AUDIOBOOK_CHAPTER"]


def in_order(rows: Sequence[Row], time: str) -> list[Row]:
    return sorted(rows, key=lambda row: (row[time], row["kafka_partition"], row["kafka_offset"]))


def waited(serve: Row, events: Sequence[Row]) -> list[Row]:
    """What the user does from the serve on, until the wait or the session is over."""
    found: list[Row] = []
    for event in in_order([e for e in events if e["user_id"] == serve["user_id"]], "event_time_ms"):
        time_ms = event["event_time_ms"]
        if time_ms < serve["serve_time_ms"]:
            continue
        if time_ms >= serve["serve_time_ms"] + WAIT_MS or (found and time_ms - found[-1]["event_time_ms"] > GAP_MS):
            break
        found.append(event)
    return found


def owner(play: Row, served: Sequence[Row]) -> Row:
    """The latest serve of the track to the user at or before a play."""
    same = [s for s in served if (s["user_id"], s["track_id"]) == (play["user_id"], play["track_id"])]
    return in_order([s for s in same if s["serve_time_ms"] <= play["event_time_ms"]], "serve_time_ms")[-1]


def naive(serve: Row, served: Sequence[Row], events: Sequence[Row]) -> Row:
    """The outcome and labels of one serve."""
    wait = waited(serve, events)
    plays = [e for e in wait if e["event_type"] == "PLAY" and e["track_id"] == serve["track_id"]]
    own = next((play for play in plays if owner(play, served) is serve), None)
    shown = {e["track_id"] for e in wait if (e["event_type"], e["request_id"]) == ("IMPRESSION", serve["request_id"])}
    row: Row = {name: serve[name] for name in SERVE} | dict.fromkeys(
        ["play_time_ms", "ms_played", "content_type", "completion"]
    )
    if own is None:
        missed = "not_shown" if shown and serve["track_id"] not in shown else "impression"
        row["outcome"] = "served_again" if plays else missed
    else:
        row |= {"play_time_ms": own["event_time_ms"], "content_type": own["content_type"]}
        row |= heard(own, wait[wait.index(own) + 1 :], serve["serve_time_ms"] + WAIT_MS)
    return row | meaning(row) | {"weight": 1.0}


def heard(play: Row, after: Sequence[Row], over_ms: int) -> Row:
    stop_ms = over_ms
    going = True
    for event in after:
        same = event["track_id"] == play["track_id"]
        if same and event["event_type"] in ENDS:
            length = event["duration_ms"] if event["duration_ms"] is not None else play["duration_ms"]
            share = min(event["ms_played"], length) / length if length else None
            return {
                "outcome": ENDS[event["event_type"]],
                "ms_played": event["ms_played"],
                "completion": share,
            }
        if event["event_type"] == "PLAY" or (same and event["event_type"] == "PAUSE"):
            stop_ms, going = (event["event_time_ms"], False) if going else (stop_ms, False)
            if same and event["event_type"] == "PLAY":
                break
    until_ms = stop_ms - play["event_time_ms"]
    lost = play["duration_ms"] and until_ms > play["duration_ms"]
    return {"outcome": "open", "ms_played": None if lost else until_ms}


def meaning(row: Row) -> Row:
    outcome, ms = row["outcome"], row["ms_played"]
    skips: Row = {}
    for name, least_ms in (("skip_5s", 5_000), ("skip_10s", 10_000)):
        if outcome == "skipped":
            skips[name] = ms < least_ms
        elif outcome in ("completed", "stopped"):
            skips[name] = False
        else:
            skips[name] = False if outcome == "open" and ms is not None and ms >= least_ms else None
    label = None
    if outcome in ("impression", "easy_negative") or skips["skip_5s"]:
        label = False
    elif ms is not None and ms > 30_000:
        label = True
    kinds = {"hard_negative": outcome == "impression", "easy_negative": outcome == "easy_negative"}
    return {"label_30s": label, **skips, **kinds}


def event(time_ms: int, kind: str, track: str | None = "t0", **fields: Any) -> Row:
    row = dict.fromkeys(lake_arrow_schema().names) | {
        "event_id": f"e{time_ms}{kind}{track}",
        "user_id": "u0",
        "track_id": track,
        "event_type": kind,
        "event_time_ms": NOON + time_ms,
        "content_type": "SONG",
        "kafka_partition": 0,
        "kafka_offset": 0,
        "late": False,
    }
    return row | fields


def serve(time_ms: int, track: str = "t0", **fields: Any) -> Row:
    row = {"request_id": f"r{time_ms}", "user_id": "u0", "track_id": track, "serve_time_ms": NOON + time_ms}
    return row | {"kafka_partition": 0, "kafka_offset": 0} | fields


@functools.cache
def sql_of_outcomes() -> str:
    """Compiled once: it takes longer than to run it."""
    return str(ibis.to_sql(outcomes(served_table(), events_table()), dialect="duckdb"))


def on_duckdb(served: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    with duckdb.connect() as connection:
        connection.register("served", as_table(served, served_table()))
        connection.register("events", as_table(events, events_table()))
        rows: list[Row] = connection.sql(sql_of_outcomes()).to_arrow_table().to_pylist()
    return rows


def as_table(rows: Sequence[Row], like: ir.Table) -> pa.Table:
    return pa.Table.from_pylist(list(rows), like.schema().to_pyarrow())


def by_serve(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: tuple(row[name] for name in SERVE))
