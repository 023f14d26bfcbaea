"""The law of the Lambda merge: whatever the events, the moment and the last published day, the value is the naive one.

Both layers come from one changelog, that of `DailyPlan.today` on DuckDB: the last row of a day is what the batch layer
publishes of it, and the row as of q is what the speed layer knows at q.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibis import _

from features.entities import ends_play, is_play, is_skip, user
from playhead.columns import Column, concatenated
from playhead.compile import compile_group
from playhead.declare import (
    Count,
    CountDistinct,
    Derived,
    FeatureGroup,
    First,
    Last,
    Max,
    Mean,
    Min,
    Ratio,
    Sum,
    TopK,
    days,
)
from playhead.local.changelog import changelog
from playhead.merge import (
    LAGS,
    SPEED_DAYS,
    Merged,
    Partials,
    Windows,
    day_of,
    merge,
    published,
    published_columns,
)
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, T_MS
from tests.parity.streams import START_MS, as_table
from tests.test_laws import event

FIRST_DAY_MS = START_MS - START_MS % DAY_MS
PUBLISHED_DAYS = 30
"""Of the longest window."""

GROUP = FeatureGroup(
    name="weeks",
    entity=user,
    features=(
        Count("plays", where=is_play, over=days(1, 7, 14, 30)),
        Count("skips", where=is_skip, over=days(7)),
        Sum("heard", _.ms_played, where=ends_play, over=days(7, 14, 30)),
        Mean("heard_mean", _.ms_played, where=ends_play, over=days(3, 30)),
        Min("least", _.ms_played, where=ends_play, over=days(3, 14)),
        Max("most", _.ms_played, where=is_skip, over=days(30)),
        First("first_ms", _.ms_played, where=ends_play, over=days(3, 14)),
        Last("last_track", _.track_id, where=is_play, over=days(3, 30)),
        CountDistinct("tracks", _.track_id, where=is_play, over=days(3, 14)),
        TopK("top", _.track_id, k=2, where=is_play, over=days(3, 14)),
        Ratio("skip_rate", "skips_7d", "plays_7d"),
        Derived("balance", _.plays_7d - 2 * _.skips_7d),
        Derived("rate", (_.plays_30d + 1) / (_.heard_30d + 1)),
        Ratio("skips_a_track", "skips_7d", "tracks_14d"),
    ),
)
PLAN = compile_group(GROUP)
assert isinstance(PLAN, DailyPlan)
Event = dict[str, Any]


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Events of two listeners over weeks, many of them beside a midnight."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    events, now_ms = [], START_MS
    for offset in range(draw(st.integers(1, 40))):
        now_ms += rng.choice([0, 1, 1_000, rng.randrange(DAY_MS), rng.randrange(4 * DAY_MS)])
        if rng.random() < 0.3:
            now_ms = -(-now_ms // DAY_MS) * DAY_MS + rng.choice([0, 1, 999, DAY_MS - 1])
        own = event(rng.choice("ab"), now_ms, rng.choice(["PLAY", "PLAY", "SKIP", "STOP"]), offset)
        events.append(own | {"track_id": f"t{rng.randrange(4)}"})
    return events


def naive(events: Sequence[Event], listener: str, time_ms: int) -> dict[str, Any]:
    """Every feature at a moment, counted from the events."""
    stamp = time_ms // 1_000 * 1_000
    mine = [e for e in events if e["user_id"] == listener and e["event_time_ms"] < stamp]

    def within(length: int, *kinds: str) -> list[Event]:
        since = stamp // DAY_MS * DAY_MS - (length - 1) * DAY_MS
        return [e for e in mine if e["event_time_ms"] >= since and e["event_type"] in kinds]

    ended = {n: [e["ms_played"] for e in within(n, "SKIP", "COMPLETE", "STOP")] for n in (3, 7, 14, 30)}
    plays = {n: len(within(n, "PLAY")) for n in (1, 7, 14, 30)}
    skips = len(within(7, "SKIP"))
    tracks = {n: [e["track_id"] for e in within(n, "PLAY")] for n in (3, 14, 30)}
    best = {n: sorted(set(own), key=lambda t: (-own.count(t), t))[:2] for n, own in tracks.items()}
    return {
        **{f"plays_{n}d": plays[n] for n in plays},
        "skips_7d": skips,
        **{f"heard_{n}d": sum(ended[n]) for n in (7, 14, 30)},
        **{f"heard_mean_{n}d": sum(ended[n]) / len(ended[n]) if ended[n] else None for n in (3, 30)},
        **{f"least_{n}d": min(ended[n], default=None) for n in (3, 14)},
        "most_30d": max((e["ms_played"] for e in within(30, "SKIP")), default=None),
        "skip_rate": skips / plays[7] if plays[7] else None,
        "balance": plays[7] - 2 * skips,
        "rate": (plays[30] + 1) / (sum(ended[30]) + 1),
        **{f"first_ms_{n}d": ended[n][0] if ended[n] else None for n in (3, 14)},
        **{f"last_track_{n}d": tracks[n][-1] if tracks[n] else None for n in (3, 30)},
        **{f"tracks_{n}d": len(set(tracks[n])) for n in (3, 14)},
        **{f"top_{n}d": best[n] or None for n in (3, 14)},
        "skips_a_track": skips / len(set(tracks[14])) if tracks[14] else None,
    }


class Layers:
    """The rows of `today` on DuckDB, asked as either layer is."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.names = [measure.name for measure in PLAN.measures]
        self.rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in changelog(PLAN.today, as_table(list(events))).to_pylist():
            listener, _bar, day_ms = row["user_id"].rpartition("|")
            self.rows.setdefault((listener, int(day_ms)), []).append(row)

    def partial(self, listener: str, day_ms: int, as_of_ms: int | None = None) -> list[Any] | None:
        """A day's measures: all of the day, or what was known at a moment; None without an event."""
        rows = self.rows.get((listener, day_ms), [])
        at = len(rows) if as_of_ms is None else bisect.bisect_right([row[T_MS] for row in rows], as_of_ms)
        return [rows[at - 1][name] for name in self.names] if at else None

    def merged(self, asked: Sequence[tuple[str, int]], late_days: int, published: int = PUBLISHED_DAYS) -> Merged:
        """The features of (listener, moment) pairs with the last published day so many days behind yesterday."""
        q_ms = np.array([time_ms for _listener, time_ms in asked])
        ends_ms = day_of(q_ms) - late_days * DAY_MS
        batch = [
            (row, int(end) - (i + 1) * DAY_MS, self.partial(who, int(end) - (i + 1) * DAY_MS))
            for row, ((who, _time), end) in enumerate(zip(asked, ends_ms, strict=True))
            for i in range(published)
        ]
        speed = [
            (row, q // DAY_MS * DAY_MS - j * DAY_MS, self.partial(who, q // DAY_MS * DAY_MS - j * DAY_MS, q))
            for row, (who, q) in enumerate(asked)
            for j in range(SPEED_DAYS)
        ]
        begins_ms = ends_ms - published * DAY_MS
        return merge(PLAN, q_ms, begins_ms, ends_ms, self.items(batch), self.items(speed))

    def merged_from_windows(self, asked: Sequence[tuple[str, int]], late_days: int, plan: DailyPlan = PLAN) -> Merged:
        """The same from what is published of windows: each row with that of its own E."""
        q_ms = np.array([time_ms for _listener, time_ms in asked])
        ends_ms = day_of(q_ms) - late_days * DAY_MS
        made = []
        for (who, _time), end in zip(asked, ends_ms.tolist(), strict=True):
            days = [end - (i + 1) * DAY_MS for i in range(PUBLISHED_DAYS)]
            made.append(published(PLAN, self.items([(0, day, self.partial(who, day)) for day in days]), end, 1))
        speed = [
            (row, q // DAY_MS * DAY_MS - j * DAY_MS, self.partial(who, q // DAY_MS * DAY_MS - j * DAY_MS, q))
            for row, (who, q) in enumerate(asked)
            for j in range(SPEED_DAYS)
        ]
        values = {name: concatenated([each[name] for each in made]) for name in published_columns(PLAN)}
        batch = Windows(np.arange(len(asked)), np.full(len(asked), late_days), values)
        return merge(plan, q_ms, ends_ms - PUBLISHED_DAYS * DAY_MS, ends_ms, batch, self.items(speed))

    def items(self, known: Sequence[tuple[int, int, list[Any] | None]]) -> Partials:
        """Those of the days that have events, in any order."""
        items = [(row, day_ms, values) for row, day_ms, values in known if values is not None]
        random.Random(len(items)).shuffle(items)
        return Partials(
            np.array([row for row, _, _ in items], np.int64),
            np.array([day_ms for _, day_ms, _ in items], np.int64),
            {
                m.name: Column.of_list([v[place] for _, _, v in items], m.kind.to_pyarrow())
                for place, m in enumerate(PLAN.measures)
            },
        )


def asked_of(events: Sequence[Event], seed: int) -> list[tuple[str, int]]:
    rng = random.Random(seed)
    near = [-1_000, -1, 0, 1, 1_000, DAY_MS, 6 * DAY_MS, 7 * DAY_MS, 13 * DAY_MS, 29 * DAY_MS, 30 * DAY_MS]
    moments = [rng.choice(events)["event_time_ms"] + rng.choice(near) for _n in range(20)]
    midnights = [
        m if rng.random() < 0.7 else m // DAY_MS * DAY_MS + rng.choice([-1, 0, 1, 999, 1_000]) for m in moments
    ]
    return [(rng.choice("ab"), moment) for moment in midnights]


@settings(max_examples=40)
@given(events=streams(), seed=st.integers(0, 2**32))
def test_the_value_is_the_naive_one_however_late_the_batch(events: list[Event], seed: int) -> None:
    layers, asked = Layers(events), asked_of(events, seed)
    expected = [naive(events, listener, time_ms) for listener, time_ms in asked]
    for late_days in range(SPEED_DAYS):
        merged = layers.merged(asked, late_days)
        assert merged.values.to_pylist() == expected, late_days
        assert not any(flags.any() for flags in merged.stale.values())


@settings(max_examples=25)
@given(events=streams(), seed=st.integers(0, 2**32))
def test_what_is_published_of_windows_gives_what_their_days_give(events: list[Event], seed: int) -> None:
    layers, asked = Layers(events), asked_of(events, seed)
    for late_days in LAGS:
        days, windows = layers.merged(asked, late_days), layers.merged_from_windows(asked, late_days)
        assert windows.values.equals(days.values), late_days
        assert not any(flags.any() for flags in windows.stale.values())


@settings(max_examples=15)
@given(
    events=streams(),
    seed=st.integers(0, 2**32),
    asked_for=st.sets(st.sampled_from(PLAN.arrow_schema.names), min_size=1),
)
def test_some_features_alone_are_what_they_are_among_all(events: list[Event], seed: int, asked_for: set[str]) -> None:
    layers, asked = Layers(events), asked_of(events, seed)
    some = PLAN.only(asked_for)
    assert {*some.arrow_schema.names} == asked_for
    for late_days in (0, SPEED_DAYS):
        every, own = (layers.merged_from_windows(asked, late_days, plan) for plan in (PLAN, some))
        assert own.values.equals(every.values.select(some.arrow_schema.names)), late_days
        assert own.stale.keys() == every.stale.keys() & asked_for


@pytest.mark.parametrize("late_days", [SPEED_DAYS, SPEED_DAYS + 1, 40])
def test_beyond_two_days_what_is_not_known_is_refused(late_days: int) -> None:
    events = [event("a", START_MS + n * DAY_MS, offset=n) for n in range(40)]
    asked = [("a", START_MS + 39 * DAY_MS + 2_000)]
    merged, (expected,) = Layers(events).merged(asked, late_days), [naive(events, *asked[0])]
    (row,) = merged.values.to_pylist()
    refused = {name for name, flags in merged.stale.items() if flags[0]}
    # Windows of up to three days are the speed layer's alone.
    assert refused == {name for name in row if not name.endswith(("_1d", "_3d"))}
    assert row == {name: None if name in refused else expected[name] for name in row}


def test_a_batch_that_is_ahead_tells_nothing_of_the_future() -> None:
    events = [event("a", START_MS + n * DAY_MS // 2, offset=n) for n in range(80)]
    asked = [("a", START_MS + 35 * DAY_MS)]
    assert Layers(events).merged(asked, -1).values.to_pylist() == [naive(events, *asked[0])]


def test_a_window_that_was_not_published_whole_is_refused() -> None:
    events = [event("a", START_MS + n * DAY_MS, offset=n) for n in range(40)]
    asked = [("a", START_MS + 39 * DAY_MS + 2_000)]
    merged = Layers(events).merged(asked, 0, published=13)
    assert {name for name, flags in merged.stale.items() if flags[0]} == {
        "plays_30d", "heard_30d", "heard_mean_30d", "most_30d", "last_track_30d", "rate"
    }  # fmt: skip


def test_an_entity_without_events_has_empty_windows() -> None:
    merged = Layers([event("a", START_MS)]).merged([("nobody", START_MS)], 1)
    (row,) = merged.values.to_pylist()
    assert (row["plays_30d"], row["heard_mean_30d"], row["skip_rate"], row["rate"]) == (0, None, None, 1.0)


def test_rows_of_one_request_may_have_ends_of_their_own() -> None:
    events = [event("a", START_MS + n * DAY_MS // 2, offset=n) for n in range(20)]
    layers, asked = Layers(events), [("a", START_MS + 9 * DAY_MS)] * SPEED_DAYS
    whole = [layers.merged(asked, late_days).values.slice(late_days, 1) for late_days in range(SPEED_DAYS)]
    assert pa.concat_tables(whole).to_pylist() == [naive(events, *asked[0])] * SPEED_DAYS
