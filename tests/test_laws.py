"""Laws of the changelog that hold for every stream of events: on DuckDB, against the naive oracle where it can tell."""

from __future__ import annotations

import bisect
import functools
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibis import _

from playhead import changelogs, oracle, relations, sessions
from playhead.compile import compile_group
from playhead.declare import (
    Count,
    Entity,
    FeatureGroup,
    LastK,
    Ratio,
    SessionStart,
    Sliding,
    Sum,
    session,
    sliding,
)
from playhead.local.sql import compiled
from playhead.plan import SessionPlan, SlidingPlan, lake_table
from playhead.relations import T_MS
from schemas.tables import lake_arrow_schema
from tests.parity.streams import START_MS, as_table

Event = dict[str, Any]

GAP_MS = 60_000

user = Entity(name="user", key="user_id")
WINDOWS = FeatureGroup(
    name="windows",
    entity=user,
    features=(
        Count("plays", where=_.event_type == "PLAY", over=sliding("1s", "1m", "1d")),
        Sum("heard", _.ms_played, where=_.event_type.isin(["SKIP", "STOP"]), over=sliding("1m")),
        Count("skips", where=_.event_type == "SKIP", over=sliding("1m")),
        Ratio("skip_rate", "skips_1m", "plays_1m"),
        LastK("last_3", _.track_id, k=3, where=_.event_type == "PLAY"),
    ),
)
SESSIONS = FeatureGroup(
    name="sessions",
    entity=user,
    features=(
        SessionStart("started", over=session(gap=timedelta(milliseconds=GAP_MS))),
        Count("plays", where=_.event_type == "PLAY", over=session(gap=timedelta(milliseconds=GAP_MS))),
        Sum("heard", _.ms_played, where=_.event_type == "STOP", over=session(gap=timedelta(milliseconds=GAP_MS))),
    ),
)
BOTH = pytest.mark.parametrize("group", [WINDOWS, SESSIONS], ids=lambda group: group.name)
DAY_MS = 86_400_000
BOUNDS = [0, 0, 1, 2, 999, 1_000, 1_001, 59_999, 60_000, 60_001, DAY_MS - 1, DAY_MS, DAY_MS + 1]
"""Steps from one event to the next that end on a window's or a session's bound, or beside it; 0 is a tie."""

few = settings(max_examples=10)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Events of two users in Kafka's order: of a partition each, by time, ties as they come."""
    now_ms = START_MS + draw(st.integers(0, 1_999))
    events = []
    for offset in range(draw(st.integers(1, 15))):
        now_ms += draw(st.sampled_from(BOUNDS) | st.integers(0, 150_000))
        kind = draw(st.sampled_from(["PLAY", "PLAY", "SKIP", "STOP", "SEARCH"]))
        events.append(event(draw(st.sampled_from("ab")), now_ms, kind, offset, draw(st.integers(0, 3))))
    return events


def event(user_id: str, time_ms: int, kind: str = "PLAY", offset: int = 0, track: int = 0, **values: Any) -> Event:
    return dict.fromkeys(lake_arrow_schema().names) | {
        "event_id": f"{user_id}{offset}",
        "user_id": user_id,
        "track_id": None if kind == "SEARCH" else f"t{track}",
        "event_type": kind,
        "event_time_ms": time_ms,
        "ms_played": 7 * offset if kind in ("SKIP", "STOP") else None,
        "content_type": "SONG",
        "kafka_partition": ord(user_id[0]) % 4,
        "kafka_offset": offset,
        "late": False,
        **values,
    }


def plan_of(group: FeatureGroup) -> SlidingPlan | SessionPlan:
    plan = compile_group(group)
    assert isinstance(plan, SlidingPlan | SessionPlan)
    return plan


@functools.cache
def changelog_sql(group: str) -> str:
    """Compiled once: it takes five times as long as the query."""
    plan = plan_of({"windows": WINDOWS, "sessions": SESSIONS}[group])
    rows = changelogs.changelog(plan, lake_table("events")).order_by(plan.key, T_MS)
    return compiled(rows)


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def query(sql: str, events: list[Event]) -> list[dict[str, Any]]:
    """Rows with Python's own integers: DuckDB's sums are wider than 64 bits."""
    connection = database()
    connection.register("events", as_table(events))
    rows = connection.sql(sql).to_arrow_table().to_pylist()
    return [{name: int(v) if isinstance(v, Decimal) else v for name, v in row.items()} for row in rows]


def rows_of(group: FeatureGroup, events: list[Event]) -> list[dict[str, Any]]:
    return query(changelog_sql(group.name), events)


def value_at(rows: list[dict[str, Any]], user_id: str, time_ms: int) -> dict[str, Any] | None:
    """The features of the last row at or before a moment."""
    own = [row for row in rows if row["user_id"] == user_id]
    at = bisect.bisect_right([row[T_MS] for row in own], time_ms)
    return {n: v for n, v in own[at - 1].items() if n not in ("user_id", T_MS)} if at else None


def moments(events: list[Event]) -> list[int]:
    """Around each event, and around each bound that it will cross."""
    lengths = [0, 1_000, 60_000, DAY_MS]
    return [e["event_time_ms"] + length + near for e in events for length in lengths for near in (-1, 0, 1, 1_000)]


@BOTH
@few
@given(events=streams(), seed=st.integers(0, 99))
def test_every_value_is_the_oracles(group: FeatureGroup, events: list[Event], seed: int) -> None:
    rows = rows_of(group, events)
    for time_ms in random.Random(seed).choices(moments(events), k=25):
        for user_id in "ab":
            found, expected = value_at(rows, user_id, time_ms), oracle.values_at(group, events, user_id, time_ms)
            assert found == expected or (found is None and not any(expected.values())), (user_id, time_ms)


@BOTH
@few
@given(events=streams(), seed=st.integers(0, 99))
def test_the_order_of_arrival_in_a_table_is_of_no_account(group: FeatureGroup, events: list[Event], seed: int) -> None:
    shuffled = random.Random(seed).sample(events, len(events))
    assert rows_of(group, shuffled) == rows_of(group, events)


@BOTH
@few
@given(events=streams())
def test_users_do_not_touch_each_other(group: FeatureGroup, events: list[Event]) -> None:
    alone = [row for name in "ab" for row in rows_of(group, [e for e in events if e["user_id"] == name])]
    assert rows_of(group, events) == alone


@BOTH
@few
@given(events=streams(), cut=st.integers(0, 14))
def test_a_row_knows_nothing_of_what_happens_at_or_after_its_moment(
    group: FeatureGroup, events: list[Event], cut: int
) -> None:
    end_ms = events[min(cut, len(events) - 1)]["event_time_ms"] // 1_000 * 1_000 + 1_000
    before = [e for e in events if e["event_time_ms"] < end_ms]
    seen, all_rows = rows_of(group, before), rows_of(group, events)
    assert [r for r in seen if r[T_MS] <= end_ms] == [r for r in all_rows if r[T_MS] <= end_ms]


@BOTH
@few
@given(events=streams(), seconds=st.integers(-100_000, 100_000))
def test_the_same_events_some_seconds_later_give_the_same_rows_later(
    group: FeatureGroup, events: list[Event], seconds: int
) -> None:
    moved = [e | {"event_time_ms": e["event_time_ms"] + seconds * 1_000} for e in events]
    later = [row | {T_MS: row[T_MS] + seconds * 1_000} for row in rows_of(group, events)]
    for row in later:
        if row.get("started") is not None:
            row["started"] += seconds * 1_000
    assert rows_of(group, moved) == later


@BOTH
@few
@given(events=streams())
def test_there_is_one_row_for_a_user_and_a_second(group: FeatureGroup, events: list[Event]) -> None:
    stamps = [(row["user_id"], row[T_MS]) for row in rows_of(group, events)]
    assert len(stamps) == len(set(stamps))
    assert all(stamp % 1_000 == 0 for _, stamp in stamps)


@few
@given(events=streams())
def test_at_the_end_every_window_is_empty_and_none_was_ever_negative(events: list[Event]) -> None:
    rows = rows_of(WINDOWS, events)
    sums = [s.name for s in plan_of(WINDOWS).sums]  # type: ignore[union-attr]
    assert all(row[name] >= 0 for row in rows for name in sums)
    last = {row["user_id"]: row for row in rows}
    assert all(row[name] == 0 for row in last.values() for name in sums)
    assert all(row["skip_rate"] is None for row in last.values())


@pytest.mark.parametrize("window", list(WINDOWS.features[0].over), ids=lambda w: w.label)  # type: ignore[union-attr]
@few
@given(at=st.integers(0, 5_000), moved=st.integers(-2_000, 2_000))
def test_an_event_is_in_a_window_from_its_start_to_before_its_end(window: Sliding, at: int, moved: int) -> None:
    """At a whole second T the window holds [T - W, T): an event moved by a millisecond is in or out."""
    time_ms, length_ms = START_MS + at, int(window.length.total_seconds() * 1_000)
    rows = rows_of(WINDOWS, [event("a", time_ms)])
    for asked_ms in (time_ms + moved, time_ms + length_ms + moved):
        stamp_ms = asked_ms // 1_000 * 1_000
        found = value_at(rows, "a", asked_ms)
        inside = stamp_ms - length_ms <= time_ms < stamp_ms
        assert (found[f"plays_{window.label}"] if found else 0) == int(inside)


@few
@given(st.permutations(range(5)), st.integers(0, 2))
def test_ties_are_in_the_order_of_partition_and_offset(order: list[int], partitions: int) -> None:
    """Five plays of one moment; the last-K list has the last by place, whatever came first."""
    places = [(offset % (partitions + 1), offset) for offset in range(5)]
    events = [event("a", START_MS, track=i, kafka_partition=p, kafka_offset=o) for i, (p, o) in enumerate(places)]
    (row,) = [r for r in rows_of(WINDOWS, [events[i] for i in order]) if r[T_MS] == START_MS // 1_000 * 1_000 + 1_000]
    by_place = sorted(range(5), key=lambda i: places[i])
    assert row["last_3"] == [f"t{i}" for i in reversed(by_place[-3:])]


@few
@given(st.lists(st.sampled_from([GAP_MS - 1, GAP_MS, GAP_MS + 1]), min_size=1, max_size=6), st.integers(0, 999))
def test_a_gap_continues_a_session_up_to_its_very_length(gaps: list[int], start: int) -> None:
    times = [START_MS + start]
    for gap in gaps:
        times.append(times[-1] + gap)
    events = [event("a", time_ms, offset=i) for i, time_ms in enumerate(times)]
    rows = rows_of(SESSIONS, events)
    opened, plays = times[0], 1
    for time_ms, gap, next_ms in zip(times, gaps, times[1:], strict=False):
        assert value_at(rows, "a", time_ms // 1_000 * 1_000 + 1_000) == {"started": opened, "plays": plays, "heard": 0}
        opened, plays = (opened, plays + 1) if gap <= GAP_MS else (next_ms, 1)


@few
@given(events=streams())
def test_sessions_close_once_each_with_their_own_counts(events: list[Event]) -> None:
    expected = [
        {
            "user_id": session[0]["user_id"],
            "session_start_ms": session[0]["event_time_ms"],
            "session_end_ms": session[-1]["event_time_ms"],
            "events": len(session),
            "plays": sum(e["event_type"] == "PLAY" for e in session),
            "heard": sum(e["ms_played"] for e in session if e["event_type"] == "STOP"),
        }
        for session in oracle.sessions(events, "user_id", GAP_MS)
    ]
    in_order: Callable[[dict[str, Any]], Any] = lambda s: (s["user_id"], s["session_start_ms"])  # noqa: E731
    assert sorted(query(closed_sql(), events), key=in_order) == sorted(expected, key=in_order)


@functools.cache
def closed_sql() -> str:
    plan = plan_of(SESSIONS)
    assert isinstance(plan, SessionPlan)
    events = lake_table("events")
    pairs = sessions.pairs(plan, events, relations.BATCH_ORDER)
    ticks = sessions.ticks(plan, events, pairs, relations.BATCH_ORDER)
    progress = sessions.progress(plan, relations.union(ticks), ("tick_ms",))
    ends = changelogs.tiles(plan, progress.filter(progress.ends))
    return compiled(sessions.closed(plan, ends))


@pytest.mark.parametrize(
    "tracks",
    [
        ["plain", "two words", "AC/DC", "Beyonc\u00e9", "\u6f22\u5b57"],
        ["\U0001f44d\U0001f3fd", "a\U0001f468\u200d\U0001f469", "\\x1f", "'"],
        ["\u0301a", "b"],
    ],
)
def test_names_of_any_script_come_out_of_a_list_as_they_went_in(tracks: list[str]) -> None:
    events = [event("a", START_MS + 5_000 * i, offset=i, track_id=track) for i, track in enumerate(tracks)]
    rows = rows_of(WINDOWS, events)
    assert rows[-1]["last_3"] == tracks[::-1][:3]


def test_an_event_without_the_key_changes_nothing() -> None:
    events = [event("a", START_MS), event("a", START_MS + 90_000, offset=1)]
    stranger = event("b", START_MS + 1, offset=2) | {"user_id": None}
    assert rows_of(WINDOWS, [*events, stranger]) == rows_of(WINDOWS, events)
