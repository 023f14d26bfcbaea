"""Outcomes of served vectors and easy negatives: the relations against a naive reading of the rules, on DuckDB."""

from __future__ import annotations

import json
import random
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from playhead.config import PROJECT
from playhead.declarations import load_declarations
from playhead.labels import (
    WAIT,
    WAIT_MS,
    catalogue_table,
    easy_negatives,
    events_table,
    outcomes_table,
)
from playhead.local.changelog import run
from playhead.plan import SessionPlan
from tests.archive import at
from tests.naive_labels import (
    CONTENT,
    ENDS,
    NOON,
    SECOND,
    Row,
    as_table,
    by_serve,
    event,
    naive,
    on_duckdb,
    serve,
)

STEPS = [0, 0, 1, 4_999, 5_000, 10_000, 29_999, 30_000, 30_001, 400_000, 1_799_999, 1_800_000, 1_800_001]
KINDS = ["PLAY", "PLAY", "PLAY", "PAUSE", "RESUME", "SKIP", "SKIP", "COMPLETE", "STOP", "LIKE", "IMPRESSION", "SERVE"]


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


@hypothesis_settings(max_examples=150)
@given(streams())
def test_outcomes_equal_the_naive_reading(stream: tuple[list[Row], list[Row]]) -> None:
    served, events = stream
    expected = [naive(each, served, events) for each in served]
    assert by_serve(on_duckdb(served, events)) == by_serve(expected)


def test_no_session_ends_within_a_wait() -> None:
    gaps = [plan.gap for plan in load_declarations().speed_plans if isinstance(plan, SessionPlan)]
    assert gaps
    assert min(gaps) >= WAIT


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
        ([event(0, "PLAY"), event(5_000, "PAUSE")], {"ms_played": 5_000, "skip_5s": False, "skip_10s": None}),
        ([event(0, "PLAY"), event(4_999, "PAUSE")], {"ms_played": 4_999, "skip_5s": None, "skip_10s": None}),
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
    assert "label_30s: 150 rows" in train(path, "--label", "label_30s", "--metrics", tmp_path / "m.json").stdout
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert (metrics["label"], metrics["rows"], metrics["auc"] > 0.8) == ("label_30s", 45, True)


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
