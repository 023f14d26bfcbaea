"""A message field by field, as far as its bytes can be read: protobuf's own parser tells only that they cannot.

Follows https://protobuf.dev/programming-guides/encoding/: a field is a tag, `number << 3 | wire type`, and a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from schemas.playback_pb2 import PlaybackEvent

MOST_FIELDS = 64
"""So many are shown of a message; noise may have millions."""

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_TAG, _LARGEST_TAG, _LARGEST_LENGTH = 5, 2**32 - 1, 2**31 - 1
_DEEPEST = 100
_FIELDS: dict[int, FieldDescriptor] = {field.number: field for field in PlaybackEvent.DESCRIPTOR.fields}

Value: TypeAlias = str | int | bytes | None


@dataclass(frozen=True, kw_only=True)
class WireField:
    """A field as it stands in the bytes.

    Attributes:
        at: where it begins, in bytes from the message's start.
        number: its number.
        name: its name; null when the schema does not have the number.
        value: a text, a number, or the bytes of what the schema does not know; what is there of a field that is cut;
            null of a group.
        note: what there is to say about it; empty when nothing.
    """

    at: int
    number: int
    name: str | None
    value: Value
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a message is made of.

    Attributes:
        fields: the first ones, in their order; a field may come several times, of which the last counts.
        broken_at: the byte at which it can be read no further; null when it is sound to its end.
        problem: what is wrong there; null when nothing is.
    """

    fields: tuple[WireField, ...]
    broken_at: int | None = None
    problem: str | None = None


class _Broken(Exception):
    def __init__(self, at: int, problem: str, field: WireField | None = None) -> None:
        super().__init__(problem)
        self.at, self.problem, self.field = at, problem, field


def read_fields(payload: bytes) -> Anatomy:
    """Read a message as far as it can be read. Never raises, whatever the bytes.

    >>> anatomy = read_fields(bytes([0x0A, 2]) + b"e1" + bytes([0x12, 9]) + b"us")
    >>> [(field.name, field.value) for field in anatomy.fields]
    [('event_id', 'e1'), ('user_id', 'us')]
    >>> anatomy.broken_at, anatomy.problem
    (4, 'user_id: 9 bytes are announced, 2 are there')
    """
    fields: list[WireField] = []
    at = 0
    try:
        while at < len(payload):
            field, at = _read_field(payload, at)
            if len(fields) < MOST_FIELDS:
                fields.append(field)
    except _Broken as broken:
        last = [broken.field] if broken.field and len(fields) < MOST_FIELDS else []
        return Anatomy(fields=(*fields, *last), broken_at=broken.at, problem=broken.problem)
    return Anatomy(fields=tuple(fields))


def _read_field(payload: bytes, start: int) -> tuple[WireField, int]:
    """A field, and where the next one begins."""
    number, kind, at = _read_tag(payload, start)
    known = _FIELDS.get(number)
    name = known.name if known else None
    called = name or f"field {number}"
    if kind == _END_GROUP:
        raise _Broken(start, f"{called}: a group ends that did not begin")
    if known is not None and kind != _wire_type(known):
        known, note = None, f"wire type {kind} instead of {_wire_type(known)}: skipped"
    else:
        note = "" if known else "not in the schema: skipped"
    if kind == _VARINT:
        value, end = _read_varint(payload, at, called, start)
        return _number(start, number, name, known, value, note), end
    if kind == _GROUP:
        end = _skip_group(payload, at, number, start, 1)
        return WireField(at=start, number=number, name=name, value=None, note=f"a group: {note}"), end
    raw, end = _read_bytes(payload, at, kind, WireField(at=start, number=number, name=name, value=None, note=note))
    if known is None:
        return WireField(at=start, number=number, name=name, value=raw, note=note), end
    try:
        return WireField(at=start, number=number, name=name, value=raw.decode()), end
    except UnicodeDecodeError as error:
        field = WireField(at=start, number=number, name=name, value=raw, note="no UTF-8")
        raise _Broken(end - len(raw) + error.start, f"{called}: a text that is not UTF-8", field) from None


def _read_tag(payload: bytes, start: int) -> tuple[int, int, int]:
    """The number, the wire type, and where the value begins."""
    tag, at = _read_varint(payload, start, "a tag", start, _LONGEST_TAG)
    number, kind = tag >> 3, tag & 7
    if number == 0 or tag > _LARGEST_TAG:
        raise _Broken(start, f"no field has the number {number}")
    if kind > _FIXED32:
        raise _Broken(start, f"{kind} is no wire type")
    return number, kind, at


def _number(
    start: int, number: int, name: str | None, known: FieldDescriptor | None, value: int, note: str
) -> WireField:
    """Numbers are two's complements: of an enum 32 bits count, of others 64."""
    bits = 32 if known is not None and known.enum_type else 64
    signed = (value & (2**bits - 1)) - ((value >> (bits - 1) & 1) << bits)
    if known is not None and known.enum_type:
        named = known.enum_type.values_by_number.get(signed)
        note = named.name if named else "not in the enum"
    return WireField(at=start, number=number, name=name, value=signed, note=note)


def _read_varint(payload: bytes, at: int, called: str, start: int, longest: int = 10) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(payload[at : at + longest]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    cut = len(payload) - at < longest
    problem = "the message ends within a number" if cut else f"a number of more than {longest} bytes"
    raise _Broken(start, f"{called}: {problem}")


def _read_bytes(payload: bytes, at: int, kind: int, field: WireField) -> tuple[bytes, int]:
    """The bytes of a value that has a length, and where the next field begins."""
    called = field.name or f"field {field.number}"
    if kind == _BYTES:
        length, at = _read_varint(payload, at, called, field.at)
    else:
        length = _WIDTHS[kind]
    raw = payload[at : at + length]
    if len(raw) < length or length > _LARGEST_LENGTH:
        text = raw.decode(errors="replace") if field.name and not field.note else raw
        left = WireField(at=field.at, number=field.number, name=field.name, value=text, note="cut")
        raise _Broken(field.at, f"{called}: {length:,} bytes are announced, {len(raw):,} are there", left)
    return raw, at + length


def _skip_group(payload: bytes, at: int, opened: int, start: int, depth: int) -> int:
    """Where a group that began has ended."""
    while depth <= _DEEPEST:
        if at >= len(payload):
            raise _Broken(start, f"field {opened}: the message ends within a group")
        begin = at
        number, kind, at = _read_tag(payload, at)
        if kind == _END_GROUP:
            if number != opened:
                raise _Broken(begin, f"field {number}: a group ends that did not begin")
            return at
        if kind == _GROUP:
            at = _skip_group(payload, at, number, begin, depth + 1)
        elif kind == _VARINT:
            _, at = _read_varint(payload, at, f"field {number}", begin)
        else:
            _, at = _read_bytes(payload, at, kind, WireField(at=begin, number=number, name=None, value=None))
    raise _Broken(start, f"field {opened}: groups within groups, deeper than {_DEEPEST}")


def _wire_type(field: FieldDescriptor) -> int:
    return _BYTES if field.type == FieldDescriptor.TYPE_STRING else _VARINT
