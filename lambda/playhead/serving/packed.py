"""The packed row: all values of one (group, entity) in one Redis string.

Version 1, little-endian, every part of the fixed length a multiple of 8 bytes, so that the rows of many entities can be
read as one array:

    offset  bytes  what
    0       1      version of the format
    1       1      0
    2       2      uint16, number of columns
    4       4      uint32, CRC-32 of the columns' names and types
    8       8      fingerprint of the group's meaning (16 hex digits)
    16      8      int64, event timestamp, epoch milliseconds
    24      8·w    null bitmap, w = ceil(columns / 64): bit i is 1 when column i is null
    …       8·n    a slot per column: int64, float64, or uint32 offset (from the row's start) and uint32 length of its
                   bytes in the variable part; 0 when null
    …       …      variable part: strings in UTF-8; lists of strings as uint32 count, that many uint32 lengths
                   (2³² - 1: null), the strings

Columns stand in the order of their names. The first 24 bytes are the same in every version: whoever compares
timestamps (the newer-wins rule) can do it across versions. A reader takes a row only if version, columns and
fingerprint are its own; every other row is `Refused`, never misread.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from playhead.columns import Column, Flags, Numbers, all_of, all_true
from playhead.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt

    from playhead.plan import Plan

VERSION = 1
HEADER = struct.Struct("<BxHI8sq")
"""Version, number of columns, checksum, fingerprint, event timestamp."""

_IDENTITY_BYTES = 16
_EXACT_MS = 2**53

Value: TypeAlias = int | float | str | list[str] | None
"""A feature's value: int64, float64, string, list of strings without nulls, or null."""

_NULL = 2**32 - 1


@dataclass(frozen=True, slots=True)
class PackedRow:
    """What a row holds: event timestamp in epoch milliseconds, and a value or null for each feature."""

    event_timestamp_ms: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that this reader does not take.

    Attributes:
        reason: `version` (another format), `fingerprint` (another meaning), `layout` (other columns), `damaged`.
        fingerprint: the row's own; null when damaged.
        event_timestamp_ms: the row's own; null when damaged.
    """

    reason: Literal["version", "fingerprint", "layout", "damaged"]
    fingerprint: str | None = None
    event_timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a type is kept: the code of its slot, and for variable lengths how to write and read its bytes."""

    code: str
    encode: Callable[[Any], bytes] | None = None
    decode: Callable[[bytes], Any] | None = None


class PackedColumns(Numbers):
    """Rows of one group, column by column; a column is read when it is asked for.

    Attributes:
        present: which rows there are.
        refused: which are there and not this reader's, as of `Refused`. Their values are null.
        stamps: event timestamps in epoch milliseconds; 0 where nothing is present.
    """

    def __init__(
        self,
        places: Mapping[str, tuple[int, _Kind]],
        rows: Sequence[bytes],
        present: Flags,
        refused: Flags,
        stamps: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
        valid: Flags,
    ) -> None:
        self.present, self.refused, self.stamps = present, refused, stamps
        self._places, self._rows, self._slots, self._valid = places, rows, slots, valid

    def __getitem__(self, name: str) -> Column:
        place, kind = self._places[name]
        slots, valid = self._slots[place], self._valid[place]
        if kind.decode is None:
            return Column(slots.view(np.float64) if kind.code == "d" else slots, valid)
        starts, lengths = slots & _NULL, slots >> 32
        values, kept, decode = np.empty(len(slots), np.object_), valid, kind.decode
        parts = zip(self._rows, starts.tolist(), (starts + lengths).tolist(), valid.tolist(), strict=True)
        for place, (row, start, end, known) in enumerate(parts):
            if not known:
                continue
            try:
                values[place] = decode(row[start:end])
            except (struct.error, ValueError):
                # Damaged inside: no value, and never another.
                kept = kept.copy()
                kept[place] = False
        return Column(values, kept)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self, names: Sequence[str]) -> tuple[npt.NDArray[np.int64], Flags]:
        """As of `Numbers`."""
        places = [self._places[name][0] for name in names]
        return self._slots[places], self._valid[places]

    def where(self, kept: Flags) -> PackedColumns:
        """The same with null values in all rows but these."""
        if all_of(kept):
            return self
        return PackedColumns(
            self._places, self._rows, self.present, self.refused, self.stamps, self._slots, self._valid & kept
        )


class Packer:
    """Packs and unpacks the rows of one group; compiled once from its columns.

    Args:
        name: the group or view.
        schema: (feature, ibis type); int64, float64, string and arrays of string can be packed.
        fingerprint: 16 hex digits.

    Raises:
        UnsupportedError: a column of another type.

    >>> import ibis.expr.datatypes as dt
    >>> packer = Packer("listener", [("plays", dt.int64), ("rate", dt.float64)], "00112233445566ff")
    >>> packer.unpack(packer.pack(1000, {"plays": 3, "rate": None}))
    PackedRow(event_timestamp_ms=1000, values={'plays': 3, 'rate': None})
    >>> other = Packer("listener", [("plays", dt.int64), ("rate", dt.float64)], "ff66554433221100")
    >>> other.unpack(packer.pack(1000, {"plays": 3}))
    Refused(reason='fingerprint', fingerprint='00112233445566ff', event_timestamp_ms=1000)
    """

    def __init__(self, name: str, schema: Sequence[tuple[str, dt.DataType]], fingerprint: str) -> None:
        types = {feature: _type_name(name, feature, dtype) for feature, dtype in sorted(schema)}
        self.name = name
        self.fingerprint = fingerprint
        self._columns = [(feature, _KINDS[kind]) for feature, kind in types.items()]
        self._names = frozenset(types)
        self._bitmap_bytes = 8 * -(-len(types) // 64)
        slots = "".join(kind.code for _, kind in self._columns)
        self._fixed = struct.Struct(f"{HEADER.format}{self._bitmap_bytes}s{slots}")
        self._dtype = np.dtype(
            [
                ("identity", "<u8", (_IDENTITY_BYTES // 8,)),
                ("at", "<i8"),
                ("nulls", "<u8", (self._bitmap_bytes // 8,)),
                ("slots", "<i8", (len(types),)),
            ]
        )
        self._places = {feature: (place, kind) for place, (feature, kind) in enumerate(self._columns)}
        self._variable = [place for place, (_, kind) in enumerate(self._columns) if kind.decode]
        self._encoders = [(place, kind.encode) for place, (_, kind) in enumerate(self._columns) if kind.encode]
        self._checksum = zlib.crc32(repr(types).encode())
        self._head = (VERSION, len(types), self._checksum, bytes.fromhex(fingerprint))
        self._identity = HEADER.pack(*self._head, 0)[:_IDENTITY_BYTES]
        self._words = np.frombuffer(self._identity, "<u8")
        self._blank = self._pack(0, {})

    @classmethod
    def of(cls, plan: Plan) -> Packer:
        """The packer of a group's plan."""
        return cls(plan.name, plan.schema, plan.fingerprint)

    def pack(self, event_timestamp_ms: int, values: Mapping[str, Any]) -> bytes:
        """One row.

        Args:
            event_timestamp_ms: epoch milliseconds.
            values: feature to value; a feature that is not in it is null.

        Raises:
            InputError: a value that does not fit its type, a feature that the group does not have, or a time beyond
                the years that every reader can hold.
        """
        if not values.keys() <= self._names:
            raise InputError(f"{self.name} has no feature {', '.join(sorted(values.keys() - self._names))}")
        if not -_EXACT_MS < event_timestamp_ms < _EXACT_MS:
            raise InputError(f"{self.name}: event timestamp {event_timestamp_ms} is out of range")
        try:
            return self._pack(event_timestamp_ms, values)
        except (struct.error, AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{self.name}: a value does not fit its type: {error}: {dict(values)}") from error

    def values_of(self, values: Mapping[str, Any]) -> bytes:
        """What a row with these values holds behind its header, whatever its event timestamp."""
        return self.pack(0, values)[HEADER.size :]

    def unpack(self, row: bytes) -> PackedRow | Refused:
        """The values of a row, or why it is not one of this packer's."""
        if row[:_IDENTITY_BYTES] != self._identity:
            return self._refuse(row)
        try:
            return self._unpack(row)
        except (struct.error, ValueError):
            return Refused("damaged")

    def columns(self, rows: Sequence[bytes | None], absent: bytes | None = None) -> PackedColumns:
        """Many rows at once, column by column.

        Args:
            rows: None where there is none.
            absent: a row of this packer, whose values stand where there is none; nulls by default.
        """
        size, blank = self._fixed.size, absent or self._blank
        there, whole = all_true(len(rows)), [row for row in rows if row is not None]
        if len(whole) < len(rows):
            there = np.array([row is not None for row in rows], np.bool_)
            whole = [blank if row is None else row for row in rows]
        lengths = [*map(len, whole)]
        even = lengths.count(size) == len(rows)
        heads = whole if even else [row[:size] for row in whole]
        if min(lengths, default=size) < size:
            heads = [head.ljust(size, b"\0") for head in heads]
        read = np.frombuffer(b"".join(heads), self._dtype)
        slots, nulls = np.ascontiguousarray(read["slots"].T), read["nulls"]
        valid = all_true(*slots.shape)
        if np.count_nonzero(nulls):
            bits = np.unpackbits(nulls.view(np.uint8), axis=1, bitorder="little")
            valid = np.ascontiguousarray(bits.T[: len(slots)]) == 0
        mine = _all_along(read["identity"] == self._words, 1)
        if self._variable or not even:
            mine = mine & self._adds_up(slots, valid, np.array(lengths, np.int64))
        if all_of(mine):
            stamps = read["at"] if all_of(there) else np.where(there, read["at"], 0)
            return PackedColumns(self._places, whole, there, ~mine, stamps, slots, valid)
        present = mine & there
        stamps = np.where(present, read["at"], 0)
        return PackedColumns(self._places, whole, present, ~mine, stamps, slots, valid & mine)

    def _adds_up(self, slots: npt.NDArray[np.int64], valid: Flags, lengths: npt.NDArray[np.int64]) -> Flags:
        """Whether a row's texts and lists follow each other up to its end."""
        size = self._fixed.size
        if not self._variable:
            return np.equal(lengths, size)
        own, known = slots[self._variable], valid[self._variable]
        parts = (own.view(np.uint64) >> 32).view(np.int64)
        is_whole = all_of(known)
        if not is_whole:
            parts = parts * known
        ends = parts.cumsum(axis=0)
        ends += size
        follow = own & _NULL == ends - parts
        if not is_whole:
            follow |= ~known
        return np.logical_and(_all_along(follow, 0), lengths == ends[-1])

    def _pack(self, event_timestamp_ms: int, values: Mapping[str, Any]) -> bytes:
        nulls, slots, variable = 0, [*map(values.get, self._places)], []
        end = self._fixed.size
        if None in slots:
            for place, value in enumerate(slots):
                if value is None:
                    nulls |= 1 << place
                    slots[place] = 0
        for place, encode in self._encoders:
            if not nulls >> place & 1:
                data = encode(slots[place])
                variable.append(data)
                slots[place] = end | len(data) << 32
                end += len(data)
        bitmap = nulls.to_bytes(self._bitmap_bytes, "little")
        return b"".join((self._fixed.pack(*self._head, event_timestamp_ms, bitmap, *slots), *variable))

    def _unpack(self, row: bytes) -> PackedRow | Refused:
        fields = self._fixed.unpack_from(row)
        event_timestamp_ms, nulls, slots = fields[4], int.from_bytes(fields[5], "little"), fields[6:]
        values: dict[str, Any] = {}
        end = self._fixed.size
        for place, ((name, kind), slot) in enumerate(zip(self._columns, slots, strict=True)):
            if nulls >> place & 1:
                values[name] = None
            elif kind.decode is None:
                values[name] = slot
            else:
                start, end = end, end + (slot >> 32)
                if slot & 0xFFFFFFFF != start:
                    return Refused("damaged")
                values[name] = kind.decode(row[start:end])
        return PackedRow(event_timestamp_ms, values) if end == len(row) else Refused("damaged")

    def _refuse(self, row: bytes) -> Refused:
        if len(row) < HEADER.size:
            return Refused("damaged")
        version, _, _, fingerprint, event_timestamp_ms = HEADER.unpack_from(row)
        own = bytes.fromhex(self.fingerprint)
        reason: Literal["version", "fingerprint", "layout"] = (
            "version" if version != VERSION else "fingerprint" if fingerprint != own else "layout"
        )
        return Refused(reason, fingerprint.hex(), event_timestamp_ms)


def _all_along(flags: Flags, axis: int) -> Flags:
    """As `flags.all(axis)`, which costs much for a few, and most often gives True."""
    return all_true(flags.shape[1 - axis]) if all_of(flags) else flags.all(axis)


def _type_name(group: str, feature: str, dtype: dt.DataType) -> str:
    name = str(dtype).replace("!", "")
    if name not in _KINDS:
        raise UnsupportedError(
            f"feature {feature!r} of {group!r} is {name}, which the online store cannot pack",
            hint=f"it packs {', '.join(_KINDS)}",
        )
    return name


def _encode_list(values: Sequence[str | None]) -> bytes:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} is no list")
    if None not in values:
        texts = cast("Sequence[str]", values)
        if (joined := "".join(texts)).isascii():
            # A byte for each character: all at once.
            return struct.pack(f"<{len(texts) + 1}I", len(texts), *map(len, texts)) + joined.encode()
    parts = [None if value is None else value.encode() for value in values]
    lengths = [_NULL if part is None else len(part) for part in parts]
    return b"".join((struct.pack(f"<{len(parts) + 1}I", len(parts), *lengths), *(part or b"" for part in parts)))


def _decode_list(data: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("<I", data)
    lengths = struct.unpack_from(f"<{count}I", data, 4)
    start, values = 4 + 4 * count, list[str | None]()
    for length in lengths:
        if length == _NULL:
            values.append(None)
            continue
        values.append(data[start : start + length].decode())
        start += length
    if start != len(data):
        raise ValueError("a list's lengths do not add up")
    return values


_KINDS: Mapping[str, _Kind] = {
    "int64": _Kind("q"),
    "float64": _Kind("d"),
    "string": _Kind("Q", str.encode, bytes.decode),
    "array<string>": _Kind("Q", _encode_list, _decode_list),
}
