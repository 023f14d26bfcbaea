"""The log of what was served: its messages are what a message that is made in one piece says."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from playhead.serving.served_log import messages
from playhead.serving.vectors import Part, Vectors
from schemas.features_pb2 import ServedFeatures, StringList, Value

NAMES = st.sampled_from(["a__x", "a__y", "b__x", "b__y"])
MOMENTS = st.integers(-(2**53), 2**53)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=3),
    # Equal, and not the same.
    st.sampled_from([0, 0.0, 1, 1.0, "", "1", [], ["1"]]),
)


def parts(**entities: st.SearchStrategy[str]) -> st.SearchStrategy[Part]:
    return st.builds(
        Part,
        entities=st.fixed_dictionaries({}, optional=entities),
        values=st.dictionaries(NAMES, VALUES),
        event_timestamps_ms=st.dictionaries(st.sampled_from("ab"), MOMENTS),
        fingerprints=st.dictionaries(st.sampled_from("ab"), st.sampled_from(["f1", "f2"])),
    )


def kept(value: Any) -> Value:
    if value is None:
        return Value()
    if isinstance(value, list):
        return Value(string_list=StringList(values=value))
    kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
    return Value(**{kind: value})


def expected(vectors: Vectors, part: Part | None, fallback: str | None) -> ServedFeatures:
    own = part or Part({})
    return ServedFeatures(
        request_id="r",
        service="s",
        serve_time_ms=vectors.serve_time_ms,
        entities=vectors.shared.entities | own.entities,
        values={name: kept(value) for name, value in (vectors.shared.values | own.values).items()},
        event_timestamps_ms=vectors.shared.event_timestamps_ms | own.event_timestamps_ms,
        fingerprints=vectors.shared.fingerprints | own.fingerprints,
        fallback=fallback or "",
    )


@given(
    parts(user_id=st.text(max_size=3)),
    st.lists(parts(track_id=st.text(max_size=3), artist_id=st.text(max_size=3)), max_size=3),
    st.integers(0, 2**53),
    st.sampled_from([None, "budget"]),
)
def test_a_message_that_is_put_together_is_one_that_is_made_at_once(
    shared: Part, candidates: list[Part], at_ms: int, fallback: str | None
) -> None:
    vectors = Vectors(at_ms, shared, candidates, Counter())
    made = [ServedFeatures.FromString(message) for message in messages("r", "s", vectors, fallback)]
    assert made == [expected(vectors, part, fallback) for part in candidates or [None]]


def test_zero_keeps_its_type() -> None:
    shared = Part({"user_id": "u"}, {"a__x": 0, "a__y": 0.0, "b__x": math.nan})
    (message,) = map(ServedFeatures.FromString, messages("r", "s", Vectors(0, shared, [], Counter())))
    assert {name: value.WhichOneof("kind") for name, value in message.values.items()} == {
        "a__x": "int_value",
        "a__y": "double_value",
        "b__x": "double_value",
    }
