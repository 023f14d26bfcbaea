"""Bytes of a `PlaybackEvent` to a row or a reason, by the rules that stand in `playback.proto`.

Every reader of the events decodes here: the speed job, the batch layer and the tests. The rules are read from the
descriptor once, at import, into plain tuples, because `decode` runs for every event.

A message with several faults gets the first reason of this order; within one kind, the order of the fields:

1. `too_large`            more bytes than allowed; the bytes are not looked at
2. `malformed`            no protobuf message, or a string that is not UTF-8
3. `missing_field:NAME`   a field that every message must set
4. `unknown_event_type`   a number that the enum does not have (proto3 enums are open, so it parses)
5. `missing_field:NAME`   a field that messages of this event type must set
6. `out_of_range:NAME`    a string longer than allowed or with U+001F, then a number outside its bounds, then a number
                          that another enum does not have
7. `time_out_of_range`    not after 2000-01-01, or later than the caller allows

An empty string and an unset number are null; so is an enum's number 0. Unknown fields are skipped: a client may be
newer than this reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from schemas.playback_pb2 import PlaybackEvent
from schemas.playhead_options_pb2 import Rule, rule

Row: TypeAlias = tuple[str | int | None, ...]
"""Values in the order of `schemas.tables.event_columns`."""

SEPARATOR = "\x1f"
"""The unit separator. No string may have it: the plan joins the values of a list with it."""

CLOCK_HEADER = "playhead-clock"
"""Kafka header: the clock by which a record's time may be too far ahead, UTC epoch ms in digits; wall clock without."""

HEARTBEAT_HEADER = "playhead-heartbeat"
"""Kafka header of a record without a payload that is no event, and only moves time on in its partition."""

EARLIEST_MS = 946_684_800_000
"""2000-01-01T00:00:00Z. Older stamps come from clocks that were never set."""


class _Rules(NamedTuple):
    """The descriptor's rules; `int` is always a column's index."""

    read: attrgetter[tuple[Any, ...]]
    null_when_falsy: tuple[int, ...]
    null_when_unset: tuple[tuple[int, str], ...]
    required: tuple[tuple[int, str], ...]
    event_type: int
    event_types: dict[int, str]
    required_on: dict[str, tuple[tuple[int, str], ...]]
    longest: tuple[tuple[int, int, str], ...]
    bounds: tuple[tuple[int, int, int, str], ...]
    enums: tuple[tuple[int, dict[int, str], str], ...]
    event_time: int


def _read_rules() -> _Rules:
    fields = list(PlaybackEvent.DESCRIPTOR.fields)
    rules: list[Rule] = [field.GetOptions().Extensions[rule] for field in fields]
    index = {field.name: i for i, field in enumerate(fields)}
    enums = {f.name: {v.number: v.name for v in f.enum_type.values if v.number} for f in fields if f.enum_type}
    columns = list(enumerate(zip(fields, rules, strict=True)))
    return _Rules(
        read=attrgetter(*index),
        null_when_falsy=tuple(i for i, (f, _) in columns if not _tracks_presence(f)),
        null_when_unset=tuple((i, f.name) for i, (f, _) in columns if _tracks_presence(f)),
        required=tuple((i, f"missing_field:{f.name}") for i, (f, r) in columns if r.required),
        event_type=index["event_type"],
        event_types=enums["event_type"],
        required_on={
            kind: tuple((i, f"missing_field:{f.name}") for i, (f, r) in columns if kind in r.required_on)
            for kind in enums["event_type"].values()
        },
        longest=tuple((i, r.max_length, f"out_of_range:{f.name}") for i, (f, r) in columns if r.max_length),
        bounds=tuple(
            (i, *_bounds(r), f"out_of_range:{f.name}")
            for i, (f, r) in columns
            if r.HasField("min") or r.HasField("max")
        ),
        enums=tuple(
            (index[name], names, f"out_of_range:{name}") for name, names in enums.items() if name != "event_type"
        ),
        event_time=index["event_time_ms"],
    )


def _tracks_presence(field: FieldDescriptor) -> bool:
    return bool(field.has_presence)


def _bounds(r: Rule) -> tuple[int, int]:
    return (r.min if r.HasField("min") else -(2**63), r.max if r.HasField("max") else 2**63 - 1)


_RULES = _read_rules()


def decode(payload: bytes, *, latest_ms: int, max_bytes: int) -> Row | str:
    """Decode and validate one message. Never raises, whatever the bytes.

    Args:
        payload: a Kafka record's value.
        latest_ms: the latest event time that is believed, UTC epoch ms: the reader's clock (or the replay's own end)
            plus the allowed skew.
        max_bytes: the largest message that is read.

    Returns:
        The row, a tuple in column order (enums by name, None for what is not set), or the reason, a string.

    >>> payload = encode({"event_id": "e1", "user_id": "u1", "event_type": "SEARCH", "event_time_ms": 1_541_000_000_000,
    ...                   "content_type": "SONG"})
    >>> decode(payload, latest_ms=1_541_000_000_000, max_bytes=65_536)[:6]
    ('e1', 'u1', None, None, 'SEARCH', 1541000000000)
    >>> decode(payload, latest_ms=1_540_999_999_999, max_bytes=65_536)
    'time_out_of_range'
    >>> decode(b"", latest_ms=1_541_000_000_000, max_bytes=65_536)
    'missing_field:event_id'
    """
    if len(payload) > max_bytes:
        return "too_large"
    try:
        message = PlaybackEvent.FromString(payload)
    except DecodeError:
        return "malformed"
    rules = _RULES
    row: list[Any] = list(rules.read(message))
    for i in rules.null_when_falsy:
        if not row[i]:
            row[i] = None
    for i, name in rules.null_when_unset:
        if not message.HasField(name):
            row[i] = None
    return _fault(row, rules, latest_ms) or tuple(row)


def _fault(row: list[Any], rules: _Rules, latest_ms: int) -> str | None:
    """The first rule that the row breaks; puts the enums' names in place of their numbers on the way."""
    for i, reason in rules.required:
        if row[i] is None:
            return reason
    event_type = rules.event_types.get(row[rules.event_type])
    if event_type is None:
        return "unknown_event_type"
    row[rules.event_type] = event_type
    for i, reason in rules.required_on[event_type]:
        if row[i] is None:
            return reason
    for i, longest, reason in rules.longest:
        if row[i] is not None and (len(row[i]) > longest or SEPARATOR in row[i]):
            return reason
    for i, least, most, reason in rules.bounds:
        if row[i] is not None and not least <= row[i] <= most:
            return reason
    for i, names, reason in rules.enums:
        if row[i] is not None:
            row[i] = names.get(row[i])
            if row[i] is None:
                return reason
    return None if EARLIEST_MS < row[rules.event_time] <= latest_ms else "time_out_of_range"


def encode(row: Mapping[str, str | int | None]) -> bytes:
    """Encode one row; no rule is checked, only names and types.

    Args:
        row: column to value, enums by name; None and an absent column are unset.

    Raises:
        ValueError: an unknown column, an unknown enum name, or a string that UTF-8 cannot carry.
        TypeError: a value of the wrong type.
    """
    values: dict[str, Any] = {name: value for name, value in row.items() if value is not None}
    message = PlaybackEvent(**values)
    payload: bytes = message.SerializeToString()
    return payload
