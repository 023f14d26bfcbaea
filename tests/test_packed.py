"""The packed row: what goes in comes out, and nothing else is ever read as a row."""

from __future__ import annotations

import struct
from typing import Any

import ibis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.declarations import load_declarations
from playhead.errors import InputError, UnsupportedError
from playhead.serving.packed import HEADER, PackedRow, Packer, Refused

FINGERPRINT = "00112233445566ff"
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": INT64,
    "float64": st.floats(allow_nan=False),
    "string": TEXT,
    "array<string>": st.lists(st.none() | TEXT, max_size=6),
}
TIMES = st.integers(-(2**52), 2**52)


def packer_of(types: dict[str, str], fingerprint: str = FINGERPRINT, name: str = "group") -> Packer:
    return Packer(name, [(feature, ibis.dtype(kind)) for feature, kind in types.items()], fingerprint)


SCHEMAS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.sampled_from(list(VALUES)), max_size=70
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[dict[str, str], int, dict[str, Any]]:
    types = draw(SCHEMAS)
    values = {feature: draw(st.none() | VALUES[kind]) for feature, kind in types.items()}
    return types, draw(TIMES), values


@given(rows())
def test_values_come_out_as_they_went_in(row: tuple[dict[str, str], int, dict[str, Any]]) -> None:
    types, at_ms, values = row
    packer = packer_of(types)
    assert packer.unpack(packer.pack(at_ms, values)) == PackedRow(at_ms, values)


@given(rows())
def test_the_order_of_declaration_does_not_matter(row: tuple[dict[str, str], int, dict[str, Any]]) -> None:
    types, at_ms, values = row
    reader = packer_of(dict(reversed(types.items())))
    assert reader.unpack(packer_of(types).pack(at_ms, values)) == PackedRow(at_ms, values)


@given(rows(), SCHEMAS)
def test_a_row_of_other_columns_is_refused(
    row: tuple[dict[str, str], int, dict[str, Any]], other: dict[str, str]
) -> None:
    types, at_ms, values = row
    read = packer_of(other).unpack(packer_of(types).pack(at_ms, values))
    expected = PackedRow(at_ms, values) if other == types else Refused("layout", FINGERPRINT, at_ms)
    assert read == expected


@given(rows())
def test_a_row_of_another_fingerprint_is_refused(row: tuple[dict[str, str], int, dict[str, Any]]) -> None:
    types, at_ms, values = row
    packed = packer_of(types).pack(at_ms, values)
    assert packer_of(types, "ff" * 8).unpack(packed) == Refused("fingerprint", FINGERPRINT, at_ms)


@given(rows(), st.data())
def test_a_row_cut_short_or_with_more_behind_it_is_damaged(
    row: tuple[dict[str, str], int, dict[str, Any]], data: st.DataObject
) -> None:
    types, at_ms, values = row
    packer = packer_of(types)
    packed = packer.pack(at_ms, values)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    assert packer.unpack(cut) == Refused("damaged")
    assert packer.unpack(packed + b"x") == Refused("damaged")


@given(rows(), st.data())
def test_bytes_that_are_no_row_raise_nothing(
    row: tuple[dict[str, str], int, dict[str, Any]], data: st.DataObject
) -> None:
    types, at_ms, values = row
    packer = packer_of(types)
    packed = packer.pack(at_ms, values)
    noise = data.draw(st.binary(max_size=len(packed)))
    for bad in (noise, packed[: len(packed) - len(noise)] + noise, packed[: HEADER.size] + noise):
        assert isinstance(packer.unpack(bad), PackedRow | Refused)


def test_another_version_of_the_format_is_refused() -> None:
    packer = packer_of({"plays": "int64"})
    packed = b"\x02" + packer.pack(5_000, {"plays": 1})[1:]
    assert packer.unpack(packed) == Refused("version", FINGERPRINT, 5_000)


def test_the_layout_is_the_documented_one() -> None:
    packer = packer_of({"rate": "float64", "plays": "int64", "tracks": "array<string>", "none": "int64"})
    packed = packer.pack(1_700_000_000_000, {"rate": 0.5, "plays": 7, "tracks": ["ä", "b"]})
    version, columns, _checksum, fingerprint, at_ms = HEADER.unpack_from(packed)
    assert (version, columns, fingerprint.hex(), at_ms) == (1, 4, FINGERPRINT, 1_700_000_000_000)
    assert struct.unpack_from("<q", packed, 16) == (1_700_000_000_000,)
    # Columns by name: none, plays, rate, tracks; the first is null.
    nulls, none, plays, rate, offset, length = struct.unpack_from("<QqqdII", packed, 24)
    assert (nulls, none, plays, rate) == (0b0001, 0, 7, 0.5)
    assert (offset, length) == (64, len(packed) - 64)
    assert packed[64:] == struct.pack("<III", 2, 2, 1) + "äb".encode()


def test_a_row_written_by_an_earlier_release_is_still_read() -> None:
    packed = bytes.fromhex(
        "01000200283ac98e00112233445566ff0068e5cf8b010000010000000000000000000000000000000700000000000000"
    )
    assert packer_of({"plays": "int64", "a": "int64"}).unpack(packed) == PackedRow(
        1_700_000_000_000, {"a": None, "plays": 7}
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", "1"),
        ("int64", 1.5),
        ("int64", 2**63),
        ("float64", "1"),
        ("string", 1),
        ("string", "\ud800"),
        ("array<string>", "abc"),
        ("array<string>", [1]),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(InputError, match="does not fit"):
        packer_of({"feature": kind}).pack(0, {"feature": value})


def test_an_unknown_feature_and_an_absurd_time_are_refused() -> None:
    packer = packer_of({"plays": "int64"})
    with pytest.raises(InputError, match="no feature skips"):
        packer.pack(0, {"skips": 1})
    with pytest.raises(InputError, match="out of range"):
        packer.pack(2**60, {"plays": 1})


def test_a_type_that_cannot_be_packed_is_named() -> None:
    with pytest.raises(UnsupportedError, match="'when' of 'group' is timestamp"):
        packer_of({"when": "timestamp"})


def test_every_declared_group_can_be_packed() -> None:
    declarations = load_declarations()
    for group in declarations.groups:
        packer = Packer.of(declarations.plan(group.name))
        assert packer.unpack(packer.pack(1_000, {})) == PackedRow(1_000, dict.fromkeys(group.feature_names))


# --- column by column ----------------------------------------------------------------------------------------------


@st.composite
def stored(draw: st.DrawFn) -> tuple[Packer, list[bytes | None]]:
    """A packer, and what may be under its keys: its rows, another's, damaged ones, bytes that are no row, nothing."""
    types, at_ms, values = draw(rows())
    packer = packer_of(types)

    def another() -> dict[str, Any]:
        return {feature: draw(st.none() | VALUES[kind]) for feature, kind in types.items()}

    def row() -> bytes | None:
        packed = packer.pack(draw(TIMES), another())
        kind = draw(st.sampled_from(["own", "own", "own", "none", "foreign", "cut", "longer", "flipped", "noise"]))
        if kind == "none":
            return None
        if kind == "foreign":
            return packer_of(types, "ff" * 8).pack(at_ms, values)
        if kind == "cut":
            return packed[: draw(st.integers(0, len(packed) - 1))]
        if kind == "longer":
            return packed + b"x"
        if kind == "flipped":
            place = draw(st.integers(0, len(packed) - 1))
            return packed[:place] + bytes([packed[place] ^ draw(st.integers(1, 255))]) + packed[place + 1 :]
        return draw(st.binary(max_size=80)) if kind == "noise" else packed

    return packer, [row() for _ in range(draw(st.integers(0, 5)))]


@pytest.mark.parametrize("text", ["abc", "", None])
@pytest.mark.parametrize("flipped", [24, 32, 36])
def test_a_text_and_its_null_bit_that_disagree_are_read_alike_in_rows_and_columns(
    text: str | None, flipped: int
) -> None:
    packer = packer_of({"t": "string"})
    good = packer.pack(0, {"t": text})
    row = good[:flipped] + bytes([good[flipped] ^ 1]) + good[flipped + 1 :]
    read, found = packer.unpack(row), packer.columns([row, good])
    expected = read.values["t"] if isinstance(read, PackedRow) else None
    assert (found.refused[0], found["t"].to_list()) == (isinstance(read, Refused), [expected, text])


@given(stored())
def test_rows_column_by_column_are_those_row_by_row(given_: tuple[Packer, list[bytes | None]]) -> None:
    packer, stored_rows = given_
    found = packer.columns(stored_rows)
    columns = {name: found[name].to_list() for name in found}
    for place, row in enumerate(stored_rows):
        read = None if row is None else packer.unpack(row)
        values = {name: own[place] for name, own in columns.items()}
        if isinstance(read, PackedRow):
            assert (found.present[place], found.refused[place]) == (True, False)
            assert found.stamps[place] == read.event_timestamp_ms
            # Not a number, out of a flipped bit, is not equal to itself.
            assert repr(values) == repr(read.values)
            continue
        assert found.stamps[place] == 0 or found.present[place]
        if found.present[place]:
            # Damaged inside a text, which nobody has looked into: that text is null.
            assert isinstance(read, Refused) and read.reason == "damaged"
            assert None in values.values()
        else:
            assert found.refused[place] == (row is not None)
            assert set(values.values()) <= {None}
    assert len(found.present) == len(found.refused) == len(found.stamps) == len(stored_rows)


@given(stored(), st.data())
def test_a_row_may_stand_where_there_is_none(given_: tuple[Packer, list[bytes | None]], data: st.DataObject) -> None:
    packer, stored_rows = given_
    own = [row for row in stored_rows if row is not None and isinstance(packer.unpack(row), PackedRow)]
    absent = data.draw(st.sampled_from(own)) if own else packer.pack(0, {})
    found, plain = packer.columns(stored_rows, absent), packer.columns(stored_rows)
    instead = packer.unpack(absent)
    assert isinstance(instead, PackedRow)
    for name in found:
        expected = [
            instead.values[name] if row is None else value
            for row, value in zip(stored_rows, plain[name].to_list(), strict=True)
        ]
        assert repr(found[name].to_list()) == repr(expected)
    for one, other in ((found.present, plain.present), (found.refused, plain.refused), (found.stamps, plain.stamps)):
        assert one.tolist() == other.tolist()


@given(stored(), st.data())
def test_values_may_be_left_out(given_: tuple[Packer, list[bytes | None]], data: st.DataObject) -> None:
    packer, stored_rows = given_
    found = packer.columns(stored_rows)
    kept = data.draw(st.lists(st.booleans(), min_size=len(stored_rows), max_size=len(stored_rows)))
    left = found.where(np.array(kept, np.bool_))
    for name in found:
        expected = [value if own else None for value, own in zip(found[name].to_list(), kept, strict=True)]
        assert repr(left[name].to_list()) == repr(expected)
