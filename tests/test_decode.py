"""decode: a row or a reason, by the rules that stand beside the fields in playback.proto."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from schemas.decode import EARLIEST_MS, decode, encode
from schemas.playback_pb2 import ContentType, EventType, PlaybackEvent
from schemas.playhead_options_pb2 import rule
from schemas.tables import event_columns

LATEST_MS = 1_600_000_000_000
MAX_BYTES = 65_536
FIELDS = {field.name: field for field in PlaybackEvent.DESCRIPTOR.fields}
RULES = {name: field.GetOptions().Extensions[rule] for name, field in FIELDS.items()}
NAMES = {
    "event_type": [name for name, number in EventType.items() if number],
    "content_type": [name for name, number in ContentType.items() if number],
}
REQUIRED_ON = [(name, kind) for name, r in RULES.items() for kind in r.required_on]

Row = dict[str, str | int | None]


def full_row(event_type: str = "COMPLETE") -> Row:
    """A valid row that sets every field."""
    row: Row = {name: "SE" if kind == "string" else 1 for name, kind in event_columns().items()}
    return row | {"event_type": event_type, "content_type": "SONG", "event_time_ms": LATEST_MS}


def result(row: Row) -> Any:
    return decode(encode(row), latest_ms=LATEST_MS, max_bytes=MAX_BYTES)


@pytest.mark.parametrize("event_type", NAMES["event_type"])
def test_a_full_row_of_every_event_type_is_decoded_as_it_was(event_type: str) -> None:
    row = full_row(event_type)
    assert result(row) == tuple(row.values())


def test_what_is_not_set_is_null() -> None:
    optional = [name for name, r in RULES.items() if not r.required and "PLAY" not in r.required_on]
    row: Row = full_row("PLAY") | dict.fromkeys(optional)
    assert result(row) == tuple(row.values())


def test_zero_is_a_number_and_not_null() -> None:
    row = full_row() | {"position_ms": 0, "ms_played": 0, "duration_ms": 0}
    assert result(row) == tuple(row.values())


@pytest.mark.parametrize("name", [name for name, r in RULES.items() if r.required])
def test_a_required_field_is_missed(name: str) -> None:
    assert result(full_row() | {name: None}) == f"missing_field:{name}"


@pytest.mark.parametrize(("name", "event_type"), REQUIRED_ON)
def test_a_field_required_on_an_event_type_is_missed(name: str, event_type: str) -> None:
    assert result(full_row(event_type) | {name: None}) == f"missing_field:{name}"


@pytest.mark.parametrize("name", [name for name, r in RULES.items() if r.max_length])
def test_a_string_may_be_as_long_as_its_rule_in_characters(name: str) -> None:
    longest = "ö" * RULES[name].max_length
    assert not isinstance(result(full_row() | {name: longest}), str)
    assert result(full_row() | {name: longest + "x"}) == f"out_of_range:{name}"


def test_a_string_has_no_unit_separator() -> None:
    assert result(full_row() | {"track_id": "a\x1fb"}) == "out_of_range:track_id"
    assert not isinstance(result(full_row() | {"track_id": "it\x19s"}), str)


@pytest.mark.parametrize("name", [name for name, r in RULES.items() if r.HasField("min") or r.HasField("max")])
def test_a_number_stays_within_its_bounds(name: str) -> None:
    least, most = RULES[name].min, RULES[name].max
    for good in (least, most):
        assert not isinstance(result(full_row() | {name: good}), str)
    for bad in (least - 1, most + 1):
        assert result(full_row() | {name: bad}) == f"out_of_range:{name}"


def test_every_field_of_text_or_number_has_a_limit() -> None:
    limited = {name for name, r in RULES.items() if r.max_length or (r.HasField("min") and r.HasField("max"))}
    enums = {name for name, field in FIELDS.items() if field.type == FieldDescriptor.TYPE_ENUM}
    assert limited | enums | {"event_time_ms"} == set(FIELDS)


def test_unknown_enum_numbers_are_told_apart_from_missing_ones() -> None:
    assert result(full_row() | {"event_type": 99}) == "unknown_event_type"
    assert result(full_row() | {"event_type": -1}) == "unknown_event_type"
    assert result(full_row() | {"content_type": 99}) == "out_of_range:content_type"


@pytest.mark.parametrize("time_ms", [-1, 1, EARLIEST_MS, LATEST_MS + 1, 2**63 - 1, -(2**63)])
def test_an_absurd_time_is_refused(time_ms: int) -> None:
    assert result(full_row() | {"event_time_ms": time_ms}) == "time_out_of_range"


@pytest.mark.parametrize("time_ms", [EARLIEST_MS + 1, LATEST_MS])
def test_the_bounds_of_time(time_ms: int) -> None:
    assert not isinstance(result(full_row() | {"event_time_ms": time_ms}), str)


def test_size_is_looked_at_before_the_bytes() -> None:
    payload = encode(full_row())
    assert decode(payload, latest_ms=LATEST_MS, max_bytes=len(payload) - 1) == "too_large"
    assert not isinstance(decode(payload, latest_ms=LATEST_MS, max_bytes=len(payload)), str)
    assert decode(b"\xff" * 10_000_000, latest_ms=LATEST_MS, max_bytes=MAX_BYTES) == "too_large"


def test_an_empty_message_misses_its_first_required_field() -> None:
    assert decode(b"", latest_ms=LATEST_MS, max_bytes=MAX_BYTES) == "missing_field:event_id"


def test_a_string_that_is_not_utf8_is_malformed() -> None:
    payload = encode(full_row()) + b"\x6a\x01\xff"
    assert decode(payload, latest_ms=LATEST_MS, max_bytes=MAX_BYTES) == "malformed"


def test_a_field_of_a_newer_client_is_skipped() -> None:
    row = full_row()
    payload = encode(row) + b"\xfa\x3f\x03new"
    assert decode(payload, latest_ms=LATEST_MS, max_bytes=MAX_BYTES) == tuple(row.values())


def test_of_several_faults_the_first_of_the_documented_order_is_given() -> None:
    """Each fault goes before those after it."""
    faults: list[tuple[Row, str]] = [
        ({"user_id": None}, "missing_field:user_id"),
        ({"event_type": 99}, "unknown_event_type"),
        ({"track_id": None}, "missing_field:track_id"),
        ({"country": "SWE"}, "out_of_range:country"),
        ({"position_ms": -1}, "out_of_range:position_ms"),
        ({"content_type": 99}, "out_of_range:content_type"),
        ({"event_time_ms": 1}, "time_out_of_range"),
    ]
    row = full_row()
    for fault, reason in reversed(faults):
        # With an unknown type it cannot be known which fields that type needs.
        row |= fault
        assert result(row) == reason


ROWS = st.fixed_dictionaries(
    {
        name: st.sampled_from(NAMES[name])
        if name in NAMES
        else st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=RULES[name].max_length)
        if kind == "string"
        else st.integers(EARLIEST_MS + 1, LATEST_MS)
        if name == "event_time_ms"
        else st.integers(RULES[name].min, RULES[name].max)
        for name, kind in event_columns().items()
    }
)
OPTIONAL = [name for name, r in RULES.items() if not r.required and not r.required_on]


@given(row=ROWS, unset=st.sets(st.sampled_from(OPTIONAL)))
def test_a_valid_row_comes_back_as_it_was(row: Row, unset: set[str]) -> None:
    row = row | dict.fromkeys(unset)
    assert result(row) == tuple(row[name] for name in event_columns())


@given(payload=st.binary(max_size=300))
def test_random_bytes_give_a_row_or_a_reason(payload: bytes) -> None:
    assert isinstance(decode(payload, latest_ms=LATEST_MS, max_bytes=MAX_BYTES), str | tuple)


@given(
    row=ROWS,
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 7)), max_size=8),
    cut=st.integers(0, 10_000),
)
def test_damaged_bytes_give_a_row_or_a_reason(row: Row, flips: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(encode(row))
    for position, bit in flips:
        damaged[position % len(damaged)] ^= 1 << bit
    payload = bytes(damaged[: cut % (len(damaged) + 1)])
    assert isinstance(decode(payload, latest_ms=LATEST_MS, max_bytes=MAX_BYTES), str | tuple)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"event_type": "SKIPPED"}, ValueError),
        ({"skiped": 1}, ValueError),
        ({"user_id": "\ud800"}, ValueError),
        ({"event_time_ms": 2**63}, ValueError),
        ({"event_time_ms": 1.5}, TypeError),
        ({"user_id": 7}, TypeError),
    ],
)
def test_encode_refuses_what_the_message_cannot_hold(row: Row, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(row)
