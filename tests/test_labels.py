"""Outcomes of served vectors: the relation against a naive reading of the rules, on DuckDB and on Spark."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from playhead.declarations import load_declarations
from playhead.labels import (
    SERVE,
    WAIT,
    WAIT_MS,
    catalogue_table,
    easy_negatives,
    events_table,
    outcomes,
    outcomes_table,
    served_table,
)
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


@hypothesis_settings(max_examples=150, deadline=None)
@given(streams())
def test_outcomes_equal_the_naive_reading(stream: tuple[list[Row], list[Row]]) -> None:
    served, events = stream
    expected = [naive(each, served, events) for each in served]
    assert by_serve(on_duckdb(served, events)) == by_serve(expected)


def test_no_session_ends_within_a_wait() -> None:
    gaps = [plan.gap for plan in load_declarations().speed_plans if isinstance(plan, SessionPlan)]
    assert gaps
    assert min(gaps) >= WAIT


SECOND, MINUTE = 1_000, 60_000
NEITHER = {"label_30s": None, "hard_negative": False}
HARD = {"outcome": "impression", "label_30s": False, "hard_negative": True, "skip_5s": None}


def ended(kind: str, ms_played: int, **fields: Any) -> list[Row]:
    """A play that begins a second after the serve at 0, and its end."""
    return [event(SECOND, "PLAY", **fields), event(SECOND + ms_played, kind, ms_played=ms_played, **fields)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], HARD),
        (ended("SKIP", 4_999), {"outcome": "skipped", "label_30s": False, "skip_5s": True, "skip_10s": True}),
        (ended("SKIP", 5_000), {"outcome": "skipped", "skip_5s": False, "skip_10s": True} | NEITHER),
        (ended("SKIP", 9_999), {"skip_5s": False, "skip_10s": True} | NEITHER),
        (ended("SKIP", 10_000), {"skip_5s": False, "skip_10s": False} | NEITHER),
        (ended("SKIP", 30_001), {"outcome": "skipped", "label_30s": True, "skip_5s": False}),
        (ended("STOP", 1_000), {"outcome": "stopped", "skip_5s": False, "skip_10s": False} | NEITHER),
        (ended("COMPLETE", 30_000), {"outcome": "completed", "ms_played": 30_000} | NEITHER),
        (ended("COMPLETE", 30_001), {"outcome": "completed", "label_30s": True, "ms_played": 30_001}),
        (ended("STOP", 50, duration_ms=150), {"completion": 50 / 150}),
        (ended("STOP", 200, duration_ms=150), {"completion": 1.0}),
        (ended("STOP", 200, duration_ms=0), {"completion": None}),
        ([event(0, "PLAY")], {"outcome": "open", "play_time_ms": NOON}),
        ([event(-1, "PLAY")], HARD),
        ([event(WAIT_MS - 1, "PLAY")], {"outcome": "open", "ms_played": 1, "skip_5s": None} | NEITHER),
        ([event(WAIT_MS, "PLAY")], HARD),
        ([event(0, "PLAY", "t1")], HARD),
        ([event(0, "PLAY", user_id="u1")], HARD),
        ([event(0, "PLAY"), event(9_000, "PAUSE")], {"ms_played": 9_000, "skip_5s": False, "skip_10s": None} | NEITHER),
        ([event(0, "PLAY"), event(40_000, "PLAY", "t1")], {"outcome": "open", "ms_played": 40_000, "label_30s": True}),
        ([event(0, "PLAY"), event(40_000, "LIKE")], {"ms_played": WAIT_MS, "label_30s": True}),
        ([event(0, "PLAY", duration_ms=2 * WAIT_MS)], {"ms_played": WAIT_MS, "label_30s": True, "completion": None}),
        ([event(0, "PLAY", duration_ms=200_000)], {"outcome": "open", "ms_played": None, "skip_5s": None} | NEITHER),
        ([event(0, "PLAY"), *ended("SKIP", 2_000)], {"outcome": "open", "ms_played": 1_000}),
        ([event(0, "IMPRESSION", "t1", request_id="r0")], {"outcome": "not_shown"} | NEITHER),
        ([event(0, "IMPRESSION", "t1", request_id="r0"), *ended("STOP", 40_000)], {"label_30s": True}),
        ([event(9, "IMPRESSION", i, request_id="r0") for i in ("t0", "t1")], HARD),
        ([event(9, "IMPRESSION", "t1", request_id="other")], HARD),
        *((ended("STOP", 40_000, content_type=c), {"content_type": c, "label_30s": True}) for c in CONTENT),
    ],
)
def test_the_rules_at_their_bounds(events: list[Row], expected: Row) -> None:
    (row,) = on_duckdb([serve(0)], [e | {"kafka_offset": n} for n, e in enumerate(events)])
    assert {name: row[name] for name in expected} == expected


def test_a_play_belongs_to_the_latest_serve() -> None:
    served = [serve(0), serve(0, request_id="again", kafka_offset=1), serve(9_000), serve(WAIT_MS - 1)]
    rows = on_duckdb(served, [event(9_000, "PLAY"), event(50_000, "STOP", ms_played=41_000)])
    assert [(row["request_id"], row["outcome"], row["label_30s"]) for row in by_serve(rows)] == [
        ("again", "served_again", None),
        ("r0", "served_again", None),
        (f"r{WAIT_MS - 1}", "impression", False),
        ("r9000", "stopped", True),
    ]


# --- easy negatives ------------------------------------------------------------------------------------------------


def drawn(outcome_rows: Sequence[Row], events: Sequence[Row], tracks: Sequence[str], **options: int) -> list[Row]:
    relation = easy_negatives(outcomes_table(), events_table(), catalogue_table(), **options)
    catalogue = [{"track_id": track, "artist_id": f"of-{track}"} for track in tracks]
    inputs = {
        "outcomes": as_table(outcome_rows, outcomes_table()),
        "events": as_table(events, events_table()),
        "catalogue": as_table(catalogue, catalogue_table()),
    }
    return sorted(run(relation, **inputs).to_pylist(), key=lambda row: (row["request_id"], row["track_id"]))


@pytest.mark.parametrize(("catalogue", "per_positive"), [(0, 1), (3, 1), (9, 4), (40, 3), (2_000, 1)])
def test_easy_negatives_are_of_the_catalogue_neither_served_nor_played(catalogue: int, per_positive: int) -> None:
    rng = random.Random(catalogue)
    tracks = [f"t{n}" for n in range(catalogue)]
    served = [serve(0, f"t{n}", request_id=f"r{r}", user_id=f"u{r}") for r in range(30) for n in range(r % 4 + 1)]
    events = [
        event(SECOND * n, kind, f"t{track}", user_id=f"u{user}", ms_played=40_000, kafka_offset=2 * n + at)
        for n, (user, track) in enumerate((rng.randrange(30), rng.randrange(6)) for _ in range(80))
        for at, kind in enumerate(("PLAY", "STOP"))
    ]
    outcome_rows = on_duckdb(served, events)
    rows = drawn(outcome_rows, events, tracks, per_positive=per_positive)
    assert rows == drawn(outcome_rows[::-1], events[::-1], tracks[::-1], per_positive=per_positive)
    positives = Counter(row["request_id"] for row in outcome_rows if row["label_30s"])
    found = {request: [row for row in rows if row["request_id"] == request] for request in positives}
    assert len(rows) == sum(map(len, found.values()))
    for request, own in found.items():
        user = request.replace("r", "u")
        taken = {s["track_id"] for s in served if s["request_id"] == request}
        taken |= {e["track_id"] for e in events if (e["user_id"], e["event_type"]) == (user, "PLAY")}
        free = set(tracks) - taken
        assert {row["track_id"] for row in own} <= free
        assert len({row["track_id"] for row in own}) == len(own) == min(per_positive * positives[request], len(free))
        assert sum(row["weight"] for row in own) == pytest.approx(len(free))
        for row in own:
            assert (row["label_30s"], row["hard_negative"], row["easy_negative"]) == (False, False, True)
            assert (row["outcome"], row["artist_id"]) == ("easy_negative", f"of-{row['track_id']}")


def test_each_track_is_drawn_about_as_often_as_another() -> None:
    served = [serve(0, "positive", request_id=f"r{n}", user_id=f"u{n}") for n in range(4_000)]
    outcome_rows = [naive(each, served, []) | {"label_30s": True} for each in served]
    tracks = [f"t{n}" for n in range(20)]
    one, other = (drawn(outcome_rows, [], tracks, seed=seed) for seed in (0, 1))
    counts = Counter(row["track_id"] for row in one)
    assert len(counts) == 20
    # 200 are expected of each; six standard deviations.
    assert all(abs(count - 200) < 6 * 14 for count in counts.values())
    assert one != other
