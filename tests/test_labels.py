"""Outcomes of served vectors: the relation against a naive reading of the rules, on DuckDB and on Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from playhead.labels import (
    OUTCOMES,
    SERVE,
    WAIT,
    WAIT_MS,
    events_table,
    outcomes,
    served_table,
)
from playhead.declarations import load_declarations
from playhead.local.changelog import run
from playhead.plan import SessionPlan
from schemas.tables import lake_arrow_schema

NOON = 1_700_049_600_000
ENDS = {"SKIP": "skipped", "COMPLETE": "completed", "STOP": "stopped"}
Row = dict[str, Any]


# --- the rules, read naively ---------------------------------------------------------------------------------------


def in_order(rows: Sequence[Row], time: str) -> list[Row]:
    return sorted(rows, key=lambda row: (row[time], row["kafka_partition"], row["kafka_offset"]))


def waited(serve: Row, events: Sequence[Row]) -> list[Row]:
    """What the user does from the serve on, until the wait or the session is over."""
    found: list[Row] = []
    for event in in_order([e for e in events if e["user_id"] == serve["user_id"]], "event_time_ms"):
        time_ms = event["event_time_ms"]
        if time_ms < serve["serve_time_ms"]:
            continue
        if time_ms >= serve["serve_time_ms"] + WAIT_MS or (found and time_ms - found[-1]["event_time_ms"] > WAIT_MS):
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


# --- tables --------------------------------------------------------------------------------------------------------


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


def on_duckdb(served: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    inputs = {
        "served": pa.Table.from_pylist(list(served), served_table().schema().to_pyarrow()),
        "events": pa.Table.from_pylist(list(events), lake_arrow_schema()),
    }
    rows: list[Row] = run(outcomes(served_table(), events_table()), **inputs).to_pylist()
    return rows


def by_serve(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: tuple(row[name] for name in SERVE))


# --- the relation --------------------------------------------------------------------------------------------------

STEPS = [0, 0, 1, 4_999, 5_000, 10_000, 29_999, 30_000, 30_001, 400_000, 1_799_999, 1_800_000, 1_800_001]
KINDS = ["PLAY", "PLAY", "PLAY", "PAUSE", "RESUME", "SKIP", "SKIP", "COMPLETE", "STOP", "LIKE", "IMPRESSION", "SERVE"]
CONTENT = ["SONG", "VIDEO", "LIVE", "PODCAST_EPISODE", "AUDIOBOOK_CHAPTER"]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Serves and events of two users and tracks, on the bounds of every rule; arrived in any order."""
    size = draw(st.integers(1, 30))
    offsets = draw(st.permutations(range(size)))
    now, served, events = 0, list[Row](), list[Row]()
    for offset in offsets:
        now += draw(st.sampled_from(STEPS))
        kind = draw(st.sampled_from([*KINDS, "SERVE", "SERVE", "SERVE"]))
        place = {"kafka_offset": offset, "kafka_partition": draw(st.integers(0, 1))}
        own = place | {"user_id": draw(st.sampled_from(["u0", "u0", "u1"]))}
        track = draw(st.sampled_from(["t0", "t0", "t1"]))
        request = draw(st.sampled_from(["r0", "r1"]))
        if kind == "SERVE":
            served.append(serve(now, track, request_id=request, **own))
            continue
        ends = {"ms_played": draw(st.sampled_from([0, 4_999, 5_000, 9_999, 10_000, 30_000, 30_001, 500_000]))}
        length = draw(st.sampled_from([None, 0, 20_000, 200_000, 3_600_000]))
        events.append(
            event(
                now,
                kind,
                track,
                duration_ms=length,
                content_type=draw(st.sampled_from(CONTENT)),
                request_id=request if kind == "IMPRESSION" else None,
                event_id=f"e{offset}",
                **own,
                **(ends if kind in ENDS else {}),
            )
        )
    return served, events


@hypothesis_settings(max_examples=300, deadline=None)
@given(streams())
def test_outcomes_equal_the_naive_reading(stream: tuple[list[Row], list[Row]]) -> None:
    served, events = stream
    expected = [naive(each, served, events) for each in served]
    assert by_serve(on_duckdb(served, events)) == by_serve(expected)
