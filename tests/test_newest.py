"""From records to the newest row of each entity."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ibis
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.serving.newest import NewestRows
from playhead.serving.packed import PackedRow, Packer

PACKER = Packer("track", [("plays", ibis.dtype("int64"))], "00112233445566ff")
PACKERS = {"track": PACKER}


def record(**changes: Any) -> bytes:
    row = {"group": "track", "fingerprint": PACKER.fingerprint, "entity": "t1", "event_timestamp_ms": 1_000}
    return orjson.dumps(row | {"values": {"plays": 1}} | changes)


def newest_of(*values: bytes | None) -> NewestRows:
    newest = NewestRows()
    for value in values:
        newest.add(value, PACKERS)
    return newest


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers()), max_size=30))
def test_the_newest_row_of_each_entity_is_kept_and_of_equal_ones_the_last(arrivals: list[tuple[str, int, int]]) -> None:
    arrivals = [(entity, second, plays % 2**62) for entity, second, plays in arrivals]
    newest = newest_of(
        *(record(entity=e, event_timestamp_ms=1_000 * s, values={"plays": plays}) for e, s, plays in arrivals)
    )
    expected: dict[str, tuple[int, int]] = {}
    for entity, second, plays in arrivals:
        if entity not in expected or second >= expected[entity][0]:
            expected[entity] = (second, plays)
    got = {entity: PACKER.unpack(packed) for _, entity, packed in newest.rows()}
    assert got == {e: PackedRow(1_000 * second, {"plays": plays}) for e, (second, plays) in expected.items()}
    assert newest.outcomes.total() == len(arrivals) - len(expected)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, "malformed"),
        (b"", "malformed"),
        (b"\xff\x00", "malformed"),
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"3", "malformed"),
        (b"{}", "malformed"),
        (record(entity=""), "malformed"),
        (record(entity=3), "malformed"),
        (record(values=None), "malformed"),
        (record(event_timestamp_ms="1000"), "malformed"),
        (record(event_timestamp_ms=True), "malformed"),
        (record(group="trakc"), "unknown_group"),
        (record(fingerprint="ffffffffffffffff"), "other_fingerprint"),
        (record(fingerprint=None), "other_fingerprint"),
        (record(values={"plays": "1"}), "bad_value"),
        (record(values={"skips": 1}), "bad_value"),
        (record(event_timestamp_ms=2**62), "bad_value"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_with_an_example(value: bytes | None, outcome: str) -> None:
    newest = newest_of(record(), value)
    assert newest.outcomes == Counter({outcome: 1})
    assert set(newest.examples) == {outcome}
    assert len(newest.rows()) == 1
