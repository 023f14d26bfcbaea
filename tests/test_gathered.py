"""Texts of a day's values: how often each came, and samples by which their number is told."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibis import _

from features.entities import is_play, user
from playhead import gathered
from playhead.compile import compile_group
from playhead.declare import CountDistinct, FeatureGroup, TopK, days
from playhead.local.changelog import changelog, run
from playhead.plan import DailyPlan
from playhead.relations import T_MS
from tests.parity.streams import START_MS, as_table
from tests.test_laws import event

GROUP = FeatureGroup(
    name="gathered",
    entity=user,
    features=(
        CountDistinct("tracks", _.track_id, where=is_play, over=days(7)),
        TopK("top_tracks", _.track_id, k=3, where=is_play, over=days(7)),
    ),
)


def hashed(value: str) -> str:
    return hashlib.md5(value.encode()).hexdigest()[:15]


def sample(values: set[str]) -> str:
    """The sample of a set of values, by its definition."""
    level, hashes = 0, {hashed(value) for value in values}
    while sum(int(each, 16) < 1 << (60 - level) for each in hashes) > gathered.SAMPLE:
        level += 1
    kept = sorted(each for each in hashes if int(each, 16) < 1 << (60 - level))
    return str(level) + json.dumps(dict.fromkeys(kept, 1), separators=(",", ":"))


@settings(max_examples=60)
@given(values=st.sets(st.text(max_size=3), max_size=60), parts=st.integers(1, 4), seed=st.integers(0, 1_000))
def test_samples_of_parts_are_the_sample_of_the_whole(values: set[str], parts: int, seed: int) -> None:
    rng = random.Random(seed)
    split: list[set[str]] = [set() for _ in range(parts)]
    for value in values:
        for part in rng.sample(split, rng.randint(1, parts)):
            part.add(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "SAMPLE", 5)
        whole = gathered.number([sample(values)])
        assert gathered.number(sample(part) for part in split) == whole
        assert whole == len(values) or len(values) > 5


def plays(tracks: Sequence[str]) -> list[dict[str, Any]]:
    return [event("a", START_MS + 2_000 + 10 * i, "PLAY", i) | {"track_id": t} for i, t in enumerate(tracks)]


@pytest.mark.parametrize("size", [1, 4, 5, 6, 40])
def test_what_grows_with_the_day_is_at_every_moment_a_sample_of_it(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "SAMPLE", 5)
    plan = compile_group(GROUP)
    assert isinstance(plan, DailyPlan)
    rng = random.Random(size)
    tracks = [f"t{rng.randrange(size)}" for _ in range(400)]
    rows = changelog(plan.today, as_table(plays(tracks))).to_pylist()
    assert len(rows) > 3
    for row in rows:
        before = [t for i, t in enumerate(tracks) if START_MS + 2_000 + 10 * i < row[T_MS]]
        assert gathered.number([row["tracks"]]) == gathered.number([sample(set(before))])
        counts = sorted(set(before), key=lambda t: (-before.count(t), t))
        assert gathered.top([row["top_tracks"]], 3) == counts[:3]


@pytest.mark.parametrize("size", [0, 1, 5, 6, 300])
def test_the_text_of_a_whole_day_is_its_sample(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "SAMPLE", 5)
    values = [f"v{i}" for i in range(size)]
    table = ibis.table({"key": "string", "value": "string"}, name="rows")
    texts = table.mutate(
        distinct=gathered.value_text(table.value, "distinct"), counts=gathered.value_text(table.value, "counts")
    )
    listed = texts.group_by("key").agg(distinct=texts["distinct"].collect(), counts=texts["counts"].collect())
    made = gathered.day_texts(listed, {"distinct": "distinct", "counts": "counts"})
    given_rows = pa.table({"key": ["k"] * (2 * size + 1), "value": pa.array([*values, *values, None], pa.string())})
    (row,) = run(made, rows=given_rows).to_pylist()
    assert row["distinct"] == (sample(set(values)) if size else None)
    assert gathered.top([row["counts"]] if row["counts"] else [], 2) == (sorted(values)[:2] or None)


@pytest.mark.parametrize("size", [1_024, 1_025, 5_000, 60_000])
def test_beyond_the_bound_the_number_is_near(size: int) -> None:
    found = gathered.number([sample({f"{i}" for i in range(size)})])
    assert found == size if size <= gathered.SAMPLE else 0 < abs(found - size) / size < 0.12


def test_any_text_can_be_the_most_frequent() -> None:
    odd = ['say "so"', "comma, colon: {brace}", "back\\slash", "日本", "😀", "null", "ünïcode"]
    plan = compile_group(GROUP)
    assert isinstance(plan, DailyPlan)
    rows = changelog(plan.today, as_table(plays([*odd, *odd]))).sort_by(T_MS).to_pylist()
    assert gathered.top([rows[-1]["top_tracks"]], 10) == sorted(odd)
