"""Dimensions: what events are enriched with, as of their time.

Three readings of one rule, held against each other by the parity tests: a row of a dimension holds from `valid_from_ms`
until the next row of its key. Batch engines join (`enriched`), the stream looks up (`Lookup`), the oracle searches.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from playhead.declare import VALID_FROM_MS, Dimension

_FOR_EVER_MS = 2**62
_HASH = "hash"
_KINDS = b"columns"

Tables = Mapping[str, pa.Table]
"""Dimension to its rows, in the columns of `arrow_schema`."""


def together(dimensions: Iterable[Dimension]) -> list[Dimension]:
    """Each dimension once, by name, with the columns that any of them has.

    >>> wide = Dimension(name="track", key="track_id", columns={"genre": "string", "tempo": "int64"})
    >>> [one.columns for one in together([wide, Dimension(name="track", key="track_id", columns={"mood": "string"})])]
    [{'genre': 'string', 'tempo': 'int64', 'mood': 'string'}]
    """
    found: dict[str, Dimension] = {}
    for own in dimensions:
        columns = {**found[own.name].columns, **own.columns} if own.name in found else own.columns
        found[own.name] = replace(own, columns=columns)
    return [found[name] for name in sorted(found)]


def table_name(dimension: Dimension) -> str:
    """The name that the dimension's rows have in an engine's SQL."""
    return f"dimension_{dimension.name}"


def versions(dimension: Dimension) -> ir.Table:
    """The dimension as an engine knows it: its key, `valid_from_ms`, its columns; a row per (key, valid_from_ms)."""
    return ibis.table(ibis.Schema.from_pyarrow(arrow_schema(dimension)), name=table_name(dimension))


def arrow_schema(dimension: Dimension) -> pa.Schema:
    """Arrow types of the columns of `versions`."""
    types = {dimension.key: "string", VALID_FROM_MS: "int64", **dimension.types}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])


def rows_of(dimensions: Iterable[Dimension], tables: Tables) -> dict[str, pa.Table]:
    """By name in SQL each dimension's rows; none of one that `tables` does not have."""
    return {table_name(d): tables.get(d.name, arrow_schema(d).empty_table()) for d in dimensions}


def enriched(events: ir.Table, dimensions: Sequence[Dimension]) -> ir.Table:
    """Every event once, with the columns of the dimensions as of its time; null where a dimension has no row then."""
    for dimension in dimensions:
        rows = versions(dimension)
        by_key = ibis.window(group_by=dimension.key, order_by=VALID_FROM_MS)
        until = ibis.coalesce(rows[VALID_FROM_MS].lead().over(by_key), ibis.literal(_FOR_EVER_MS, "int64"))
        names = {own: rows[column] for own, column in zip(dimension.event_columns, dimension.columns, strict=True)}
        spans = rows.select(
            dimension_key=rows[dimension.key], dimension_since=rows[VALID_FROM_MS], dimension_until=until, **names
        )
        held = events.left_join(
            spans,
            [
                events[dimension.key] == spans.dimension_key,
                events.event_time_ms >= spans.dimension_since,
                events.event_time_ms < spans.dimension_until,
            ],
        )
        events = held.select(*events.columns, *names)
    return events


class Lookup:
    """The same by search, in an Arrow table that may be a file in memory: for a stream, which sees a batch at a time.

    Rows are sorted by a hash of their key and by time, so that a key's rows are found without a text being read. The
    keys found are compared: two keys of one hash are told apart. A column that the file lacks, or has as another type,
    is null: it was declared after the load.

    >>> tracks = Dimension(name="track", key="track_id", columns={"genre": "string"})
    >>> rows = {"track_id": ["t1", "t1"], "valid_from_ms": [0, 1_000], "genre": ["pop", "jazz"]}
    >>> lookup = Lookup(tracks, sorted_rows(tracks, pa.table(rows, schema=arrow_schema(tracks))))
    >>> lookup.values(["t1", "t1", "t2", None], [999, 1_000, 5, 5])
    {'track_genre': ['pop', 'jazz', None, None]}
    """

    def __init__(self, dimension: Dimension, rows: pa.Table) -> None:
        self.dimension = dimension
        rows = rows.combine_chunks()
        self._hashes = _numpy(rows[_HASH])
        self._since_ms = _numpy(rows[VALID_FROM_MS])
        self._keys = rows[dimension.key]
        loaded = kinds_of(rows.schema)
        self._columns = {
            own: rows[column] if loaded.get(column) == kind else _nothing(rows, dimension.types[column])
            for own, (column, kind) in zip(dimension.event_columns, dimension.columns.items(), strict=True)
        }

    @classmethod
    def open(cls, dimension: Dimension, file: Path) -> Lookup:
        """The lookup of a file that `write_rows` has written, which stays on disk until it is read."""
        with pa.memory_map(str(file)) as source:
            return cls(dimension, pa.ipc.open_file(source).read_all())

    def values(self, keys: Sequence[str | None], moments_ms: Sequence[int]) -> dict[str, list[Any]]:
        """By event column the values that hold for each key at its moment; null where there is no row."""
        places = pa.array(self._places(keys, moments_ms), pa.int64())
        return {name: column.take(places).to_pylist() for name, column in self._columns.items()}

    def _places(self, keys: Sequence[str | None], moments_ms: Sequence[int]) -> list[int | None]:
        hashes = hashes_of(["" if key is None else key for key in keys])
        firsts = np.searchsorted(self._hashes, hashes, side="left").tolist()
        ends = np.searchsorted(self._hashes, hashes, side="right").tolist()
        found = zip(keys, moments_ms, firsts, ends, strict=True)
        return [None if key is None else self._place(key, moment_ms, low, high) for key, moment_ms, low, high in found]

    def _place(self, key: str, moment_ms: int, low: int, high: int) -> int | None:
        while low < high:
            place = bisect_right(self._since_ms, moment_ms, low, high) - 1
            if place < low:
                return None
            if self._keys[place].as_py() == key:
                return place
            high = place  # another key of the same hash
        return None


def sorted_rows(dimension: Dimension, rows: pa.Table) -> pa.Table:
    """A dimension's rows in the order of a lookup, with the hash of their keys."""
    hashed = rows.append_column(_HASH, pa.array(hashes_of(rows[dimension.key].to_pylist())))
    ordered = hashed.sort_by([(_HASH, "ascending"), (VALID_FROM_MS, "ascending")])
    return ordered.replace_schema_metadata({_KINDS: json.dumps(dict(dimension.columns))})


def kinds_of(schema: pa.Schema) -> dict[str, str]:
    """Column to its declared type when the rows of a lookup were made."""
    return dict(json.loads((schema.metadata or {}).get(_KINDS, b"{}")))


def loaded_kinds(lake: Path, dimension: Dimension) -> dict[str, str]:
    """The same of what was loaded last; nothing before the first load."""
    file = lookup_file(lake, dimension)
    if not file.is_file():
        return {}
    with pa.memory_map(str(file)) as source:
        return kinds_of(pa.ipc.open_file(source).schema)


def write_rows(dimension: Dimension, rows: pa.Table, file: Path) -> None:
    """Write a dimension's rows as a file for `Lookup.open`; it takes the place of the one before at once."""
    draft = file.with_name(f".{file.name}.draft")
    made = sorted_rows(dimension, rows).combine_chunks()
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, made.schema) as writer:
        writer.write_table(made)
    draft.replace(file)


def lookup_file(lake: Path, dimension: Dimension) -> Path:
    """Where the stream finds a dimension."""
    return lake / "dimensions" / f"{dimension.name}.arrow"


def table_path(lake: Path, dimension: Dimension) -> Path:
    """Where a dimension's Delta table is."""
    return lake / "dimensions" / dimension.name


def hashes_of(keys: Iterable[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 bits of each key, the same in every process."""
    return np.frombuffer(b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys), np.uint64)


def _nothing(rows: pa.Table, kind: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(rows.num_rows, pa.type_for_alias(kind))])


def _numpy(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    # Of one chunk without nulls: no copy, so what is in a file stays there.
    numbers: np.ndarray[Any, Any] = column.chunk(0).to_numpy() if column.num_chunks else column.to_numpy()
    return numbers
