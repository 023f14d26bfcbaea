"""Outcomes of served vectors: the relation against a naive reading of the rules, on DuckDB and on Spark."""

from __future__ import annotations

import functools
import json
import random
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from playhead.batch.labels import Labels, label_days, labelled_path
from playhead.checks import results
from playhead.cli import app
from playhead.config import PROJECT, Settings
from playhead.days import end_ms_of
from playhead.declarations import load_declarations
from playhead.dimensions import arrow_schema, table_path
from playhead.errors import InputError, UnknownName
from playhead.labels import (
    OUTCOMES,
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
from playhead.serving.dimension_table import load_dimension
from playhead.serving.registry import apply
from playhead.serving.served_table import served_schema
from schemas.tables import lake_arrow_schema
from tests.archive import at, write_rows
from tests.lake import write_events
from tests.spark import spark  # noqa: F401 — the fixture

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


# --- the job -------------------------------------------------------------------------------------------------------

DAY = date(2023, 11, 15)
TRACKS = [f"t{n}" for n in range(8)]
SERVICE = "listener_v1"


@dataclass(frozen=True)
class Labelled:
    """A home whose day was labelled, from what, and what the run said."""

    settings: Settings
    served: list[Row]
    events: list[Row]
    done: Labels

    def copy(self, home: Path) -> Settings:
        """Settings of a copy of the home, known to Feast."""
        shutil.copytree(self.settings.home, home, ignore=lambda _, names: {"run", "redis"} & {*names})
        settings = self.settings.model_copy(update={"home": home})
        apply(settings, load_declarations())
        return settings


@pytest.fixture(scope="module")
def labelled(online: Settings, spark: SparkSession) -> Labelled:  # noqa: F811
    declared = load_declarations()
    served, events = made_up_days(random.Random(1))
    write_events(online.lake, events)
    write_served(online.lake, served)
    load_tracks(online, TRACKS, None)
    load_tracks(online, ["new"], at(NOON))
    # Of each track so many plays as its number; and of a moment after every serve, which nobody may see, others.
    of_tracks = [
        {"track_id": track, "event_timestamp_ms": at_ms, "plays_1h": plays}
        for n, track in enumerate(TRACKS)
        for at_ms, plays in ((NOON - 86_400_000, n), (NOON + 43_200_000, 99))
    ]
    write_rows(online.lake, declared.plan("track"), of_tracks)
    apply(online, declared)
    return Labelled(online, served, events, label_days(online, [DAY]))


def load_tracks(settings: Settings, tracks: Sequence[str], valid_from: datetime | None) -> None:
    """Load tracks of which nothing is known but the artist, as of a moment."""
    declared = load_declarations()
    schema = arrow_schema(declared.dimension("track")).remove(1)
    rows = [dict.fromkeys(schema.names) | {"track_id": track, "artist_id": f"of-{track}"} for track in tracks]
    file = settings.home / "tracks.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    load_dimension(settings, declared, "track", [file], valid_from=valid_from)


def made_up_days(rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Requests for two tracks each, from the noon of a day to the morning after, and what two listeners then do."""
    served, events, now = list[Row](), list[Row](), 0
    while now < 13 * 60 * MINUTE:
        # Often, where a play of the day's last serves may be on the next.
        close = abs(now - 12 * 60 * MINUTE) < WAIT_MS
        now += rng.choice([SECOND, MINUTE] if close else [SECOND, 10 * MINUTE, 40 * MINUTE])
        user, tracks = f"u{rng.randrange(2)}", rng.sample(TRACKS[:4], 2)
        place = {"user_id": user, "request_id": f"r{now}"}
        served += [serve(now, track, kafka_offset=len(served) + n, **place) for n, track in enumerate(tracks)]
        if rng.random() < 0.2:
            events.append(event(now, "IMPRESSION", tracks[0], **place))
        for track in rng.sample(TRACKS[:6], 2):
            now += rng.choice([0, 1, SECOND, MINUTE])
            heard_ms, kind = rng.choice([3_000, 8_000, 20_000, 60_000]), rng.choice(list(ENDS))
            length = rng.choice([None, 70_000])
            own = {"user_id": user, "content_type": rng.choice(CONTENT), "duration_ms": length}
            events.append(event(now, "PLAY", track, **own))
            if rng.random() < 0.3:
                events.append(event(now + rng.randrange(heard_ms), "PAUSE", track, **own))
            now += heard_ms
            if rng.random() < 0.8:
                events.append(event(now, kind, track, ms_played=heard_ms, **own))
    return served, [each | {"event_id": f"e{n}", "kafka_offset": n} for n, each in enumerate(events)]


def write_served(lake: Path, served: Sequence[Row]) -> None:
    """The served log as it is landed; one more vector of each user, of no track."""
    declared = load_declarations()
    schema = served_schema(declared.service(SERVICE), declared)
    rows = []
    for row in [*served, serve(0, request_id="own") | {"track_id": None}]:
        moment = at(row["serve_time_ms"])
        full = dict.fromkeys(schema.names) | {n: v for n, v in row.items() if n in schema.names}
        rows.append(full | {"serve_time": moment, "dt": f"{moment:%Y-%m-%d}", "track__plays_1h": 5})
    path = lake / "served" / SERVICE
    write_deltalake(path, pa.Table.from_pylist(rows, schema), mode="append", partition_by=["dt"])


def rows_of(settings: Settings) -> list[Row]:
    rows: list[Row] = DeltaTable(labelled_path(settings.lake, SERVICE)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["serve_time"], row["request_id"], row["track_id"], row["outcome"]))


def of_log(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row["easy_negative"]]


def expected_rows(served: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    own = [s for s in served if s["serve_time_ms"] < end_ms_of(DAY)]
    return [naive(each, served, events) for each in own]


def narrow(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in names) for row in rows), key=str)


OWN = ["request_id", "track_id", "kafka_offset", "outcome", "play_time_ms", "ms_played", "content_type", "completion"]
OWN += ["label_30s", "skip_5s", "skip_10s", "hard_negative", "easy_negative", "weight"]


@pytest.mark.spark
def test_a_day_in_the_lake_is_what_the_rules_say(labelled: Labelled) -> None:
    rows, expected = rows_of(labelled.settings), expected_rows(labelled.served, labelled.events)
    assert narrow(of_log(rows), OWN) == narrow(expected, OWN)
    assert {row["outcome"] for row in expected} == set(OUTCOMES) - {"easy_negative"}
    assert any(row["play_time_ms"] and row["play_time_ms"] >= end_ms_of(DAY) for row in expected)
    assert {row["dt"] for row in rows} == {str(DAY)}
    assert {row["track__plays_1h"] for row in of_log(rows)} == {5}
    (made,) = labelled.done.days
    assert {name: count for name, count in made.outcomes.items() if count} == Counter(row["outcome"] for row in rows)
    assert made.labels == {
        "positive": sum(row["label_30s"] is True for row in rows),
        "negative": sum(row["label_30s"] is False for row in rows),
        "neither": sum(row["label_30s"] is None for row in rows),
    }
    assert (made.rows, made.waiting) == (len(rows), 0)
    saved = results.load(labelled.settings, "labels")
    assert saved is not None
    assert saved["days"] == labelled.done.to_json()["days"]


@pytest.mark.spark
def test_easy_negatives_know_what_was_known_at_the_serve(labelled: Labelled) -> None:
    rows = rows_of(labelled.settings)
    easy = [row for row in rows if row["easy_negative"]]
    requests = Counter(row["request_id"] for row in rows if row["label_30s"])
    assert Counter(row["request_id"] for row in easy) == requests
    for row in easy:
        own = next(s for s in labelled.served if s["request_id"] == row["request_id"])
        taken = {s["track_id"] for s in labelled.served if s["request_id"] == row["request_id"]}
        taken |= {e["track_id"] for e in waited(own, labelled.events) if e["event_type"] == "PLAY"}
        assert row["track_id"] in set(TRACKS) - taken
        assert row["weight"] == (len(TRACKS) - len(taken)) / requests[row["request_id"]]
        assert (row["serve_time"], row["user_id"]) == (at(own["serve_time_ms"]), own["user_id"])
        assert (row["track__plays_1h"], row["artist_id"]) == (int(row["track_id"][1:]), f"of-{row['track_id']}")
        assert (row["listener__plays_1h"], row["context__weekday"] is None) == (0, False)
        assert (row["fingerprints"], row["kafka_offset"]) == (None, None)


@pytest.mark.spark
def test_a_day_run_again_is_the_same(labelled: Labelled) -> None:
    before = rows_of(labelled.settings)
    asked = ["batch", "labels", "--date", str(DAY), "--service", SERVICE, "--home", str(labelled.settings.home)]
    as_json = CliRunner().invoke(app, [*asked, "--json"]).stdout
    assert json.loads(as_json[as_json.index("{\n") :])["days"] == labelled.done.to_json()["days"]
    assert rows_of(labelled.settings) == before


@pytest.mark.spark
def test_a_day_run_again_heals_what_came_late(labelled: Labelled, tmp_path: Path) -> None:
    settings, before = labelled.copy(tmp_path / "home"), rows_of(labelled.settings)
    missed = next(row for row in of_log(before) if row["outcome"] == "impression")
    shift_ms = round(missed["serve_time"].timestamp() * 1_000) - NOON
    own = {"user_id": missed["user_id"], "late": True, "kafka_partition": 1}
    late = [
        event(shift_ms, "PLAY", missed["track_id"], kafka_offset=0, **own),
        event(shift_ms + 1, "SKIP", missed["track_id"], kafka_offset=1, ms_played=1, **own),
    ]
    write_events(settings.lake, late, "late")
    label_days(settings, [DAY])
    after = rows_of(settings)
    assert narrow(of_log(after), OWN) == narrow(expected_rows(labelled.served, [*labelled.events, *late]), OWN)
    assert (missed["request_id"], missed["track_id"], True) in narrow(after, ["request_id", "track_id", "skip_5s"])


@pytest.mark.spark
def test_without_a_catalogue_what_was_played_is_drawn(labelled: Labelled, tmp_path: Path) -> None:
    settings = labelled.copy(tmp_path / "home")
    shutil.rmtree(table_path(settings.lake, load_declarations().dimension("track")))
    label_days(settings, [DAY], easy_per_positive=2)
    easy = [row for row in rows_of(settings) if row["easy_negative"]]
    assert easy
    assert {row["track_id"] for row in easy} <= {e["track_id"] for e in labelled.events} < set(TRACKS)


@pytest.mark.spark
def test_what_still_waits_is_left_out_and_counted(
    settings: Settings,
    spark: SparkSession,  # noqa: F811
) -> None:
    apply(settings, load_declarations())
    write_served(settings.lake, [serve(0), serve(1)])
    with pytest.raises(InputError, match="no events in"):
        label_days(settings, [DAY])
    write_events(settings.lake, [event(WAIT_MS - 1, "SEARCH", None)])
    with pytest.raises(InputError, match=r"everything of 2023-11-15 still waits.*of 2023-11-15T12:29:59.999\+00:00"):
        label_days(settings, [DAY])
    write_events(settings.lake, [event(WAIT_MS, "SEARCH", None)], "later")
    shown = CliRunner().invoke(app, ["batch", "labels", "--date", str(DAY), "--home", str(settings.home)]).stdout
    assert "listener_v1, 2023-11-15: 1 rows, 1 vectors wait\n  negative 1\n  impression 1\n" in shown
    assert len(rows_of(settings)) == 1
    with pytest.raises(InputError, match="no vector of a track was served on 2023-11-14"):
        label_days(settings, [DAY - timedelta(days=1)])


def test_what_cannot_be_labelled_is_told_before_spark_starts(settings: Settings) -> None:
    with pytest.raises(InputError, match="no day to label"):
        label_days(settings, [])
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        label_days(settings, [DAY], services=["listener_v2"])
    with pytest.raises(InputError, match="no vector of a track was served on 2023-11-15"):
        label_days(settings, [DAY])


# --- a model on it -------------------------------------------------------------------------------------------------

EXAMPLE = PROJECT / "examples" / "skip_model.py"


def write_labelled(path: Path, size: int, positive: Callable[[int], bool]) -> Path:
    """Labelled vectors, two a second: of the features one tells what is skipped, one is null now and then."""
    rows = [
        {
            "request_id": f"r{n // 2}",
            "track_id": f"t{n}",
            "serve_time": at(NOON + n // 2 * SECOND),
            "listener__skip_rate_1h": 0.5 + (0.4 if positive(n) else -0.4) * (n % 5 > 0),
            "track__plays_1h": n * 7 % 11 if n % 3 else None,
            "listener__last_5_tracks": ["t0"],
            "listener__event_timestamp_ms": NOON,
            "label_30s": None if n % 4 == 0 else not positive(n),
            "skip_5s": positive(n),
            "weight": 1.0 + n % 2,
        }
        for n in range(size)
    ]
    write_deltalake(path, pa.Table.from_pylist(rows))
    return path


def train(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def test_the_example_learns_what_is_skipped(tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "labelled", 200, lambda n: n * n % 7 == 2)
    done = train(path)
    assert done.returncode == 0, done.stderr
    assert "skip_5s: 200 rows, 57 true; trained on 140, judged on 60" in done.stdout
    later = re.search(r"later ([0-9.]+)", done.stdout)
    assert later is not None
    assert float(later[1]) > 0.8
    assert "listener__skip_rate_1h" in done.stdout
    assert "event_timestamp" not in done.stdout
    assert "label_30s: 150 rows" in train(path, "--label", "label_30s").stdout


def test_the_example_says_what_it_lacks(tmp_path: Path) -> None:
    one_class = train(write_labelled(tmp_path / "labelled", 6, lambda n: n < 2))
    assert (one_class.returncode, one_class.stdout) == (1, "")
    assert "the later 2 of 6 rows with skip_5s have 0 that are true: a model needs both" in one_class.stderr
    absent = train(tmp_path / "absent")
    assert (absent.returncode, "`playhead batch labels` makes them" in absent.stderr) == (1, True)
    assert "examples/skip_model.py .playhead/lake" in train("--help").stdout


def test_the_weighted_auc_is_the_chance_to_be_in_order() -> None:
    model = runpy.run_path(str(EXAMPLE))
    rng = np.random.default_rng(1)
    y, score, weight = rng.integers(0, 2, 60) * 1.0, rng.integers(0, 9, 60) * 1.0, rng.integers(1, 5, 60) * 1.0
    pairs = [(i, j) for i in range(60) for j in range(60) if y[i] > y[j]]
    right = sum(weight[i] * weight[j] * ((score[i] > score[j]) + (score[i] == score[j]) / 2) for i, j in pairs)
    assert model["auc"](y, score, weight) == pytest.approx(right / sum(weight[i] * weight[j] for i, j in pairs))
