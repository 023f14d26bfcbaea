"""The as-of join: for every row of a spine, the values that held at its moment. On DuckDB, over Parquet and Delta.

Of an entity's rows with `event_timestamp <= moment` the latest counts; of rows with the same event timestamp (the
archive repeats rows after a restart) the one created last. Rows older than the view's time to live count as absent.

Keys become numbers first: only entities of the spine are joined, and numbers sort faster than texts. What does not fit
in memory DuckDB spills.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from playhead.errors import InputError
from playhead.serving.lake_rows import (
    MOMENT,
    ROWS,
    Feature,
    ViewRows,
    numbered,
    open_duckdb,
    open_rows,
    reading,
    run_query,
    typed,
)

_FIRST_US = -(2**62)
_LAST_US = 2**63 - 1


def as_of(
    spine: pa.Table,
    timestamp: str,
    views: Sequence[ViewRows],
    *,
    known: str | None = None,
    memory_mb: int | None = None,
) -> pa.Table:
    """Attach the values that held at each row's moment.

    Args:
        spine: any columns, among them the views' keys and `timestamp`. Naive timestamps are UTC; null ones, null keys
            and unknown entities get nulls.
        timestamp: name of the spine's column of moments.
        views: where the values are.
        known: name of a column of timestamps: of what was written after it nothing counts. Null: everything counts.
        memory_mb: see `open_duckdb`; the spine, the numbers of its keys and the result are not part of it.

    Returns:
        The spine as it is, every row once and in its order, then the features of each view.

    Raises:
        InputError: a column that the spine lacks or that the result would have twice, a key whose type does not fit,
            rows that cannot be read, or `known` for rows that do not say when they were written.
    """
    with open_duckdb(memory_mb) as connection:
        return attached(connection, spine, timestamp, views, known)


def attached(
    connection: duckdb.DuckDBPyConnection,
    spine: pa.Table,
    timestamp: str,
    views: Sequence[ViewRows],
    known: str | None = None,
) -> pa.Table:
    """`as_of` in a database from `open_duckdb`."""
    check_columns(spine, timestamp, views, known)
    moments = moments_of(spine, timestamp)
    stamps = {"moment": moments} | ({"known": moments_of(spine, known)} if known else {})
    join = _Join(connection, spine, stamps)
    for view in views:
        for feature, column in zip(view.features, join.held(view), strict=True):
            spine = spine.append_column(feature.name, column)
    return spine


@dataclass(frozen=True)
class _Probe:
    """Names of the spine's tables in the database, under the types of a view's keys.

    `entities`: its entities, key_… and a number `code` for each. `rows`: place, code (null where a key is), moment,
    and `known` if it has it.
    """

    entities: str
    rows: str


class _Join:
    """A spine and the views that are joined to it, one after the other."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, spine: pa.Table, stamps: dict[str, pa.ChunkedArray]
    ) -> None:
        self._connection, self._spine, self._stamps = connection, spine, stamps
        span = pc.min_max(stamps["moment"]).as_py()
        self._first, self._last = span["min"], span["max"]
        self._probes: dict[tuple[object, ...], _Probe] = {}

    def held(self, view: ViewRows) -> list[pa.ChunkedArray]:
        """The view's features for every row of the spine, in its order."""
        known = [self._spine[column] for column, _ in view.keys] + [self._stamps["moment"]]
        absent = functools.reduce(pc.and_, (column.is_valid() for column in known))
        since = self._first - view.ttl if view.ttl is not None and self._first is not None else None
        schema = open_rows(self._connection, view, since, self._last)
        if schema is None:
            return [
                _with_empty(pa.chunked_array([pa.nulls(len(absent), f.kind or pa.null())]), absent, f)
                for f in view.features
            ]
        probe = self._probe(view, schema)
        query = _known(probe, view) if "known" in self._stamps else _nearest(probe, view)
        table = run_query(self._connection, view, _fresh(query, view))
        absent = pc.and_not(absent, table["found"])
        return [
            _with_empty(typed(column, f.kind), absent, f)
            for f, column in zip(view.features, table.columns[2:], strict=True)
        ]

    def _probe(self, view: ViewRows, schema: pa.Schema) -> _Probe:
        """The spine for a view; views of the same keys share it."""
        keys = numbered("key", view.keys)
        kinds = [schema.field(key).type for key in keys]
        same = (*(column for column, _ in view.keys), *kinds)
        if same not in self._probes:
            columns = [
                as_key(view, self._spine, column, kind) for (column, _), kind in zip(view.keys, kinds, strict=True)
            ]
            codes, entities = coded(columns)
            different = dict(zip(keys, entities, strict=True))
            self._probes[same] = _Probe(
                self._table(view, "entities", {"code": _numbers(len(entities[0])), **different}),
                self._table(view, "probe", {"place": _numbers(len(codes)), **self._stamps, "code": codes}),
            )
        return self._probes[same]

    def _table(self, view: ViewRows, kind: str, columns: Mapping[str, Any]) -> str:
        name = f"{kind}_{len(self._probes)}"
        self._connection.register("made", pa.table(columns))
        # A table of the database's own, which it reads in less time than Arrow's.
        with reading(view):
            self._connection.sql(f"CREATE OR REPLACE TABLE {name} AS FROM made")
        self._connection.unregister("made")
        return name


def coded(columns: Sequence[pa.ChunkedArray]) -> tuple[pa.ChunkedArray, list[pa.Array]]:
    """A number for each row: the same for the same values, null where one of them is.

    Returns:
        int32, a number for each row; and of each column the values that the numbers from 0 on stand for.

    >>> users, tracks = pa.chunked_array([["u"], ["v", "u", None]]), pa.chunked_array([["t", "t", "t", "t"]])
    >>> codes, values = coded([users, tracks])
    >>> codes.to_pylist(), [each.to_pylist() for each in values]
    ([0, 1, 0, None], [['u', 'v'], ['t', 't']])
    """
    first, *others = columns
    codes, values = _encoded(first)
    found = [values]
    for column in others:
        own, values = _encoded(column)
        codes, pairs = _encoded(pc.add(pc.multiply(codes.cast(pa.int64()), len(values)), own))
        before, after = np.divmod(pairs.to_numpy(), max(1, len(values)))
        found = [*(each.take(pa.array(before)) for each in found), values.take(pa.array(after))]
    return codes, found


def _encoded(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    """The place of each value among the different ones, and these."""
    if pa.types.is_null(column.type):
        return pa.chunked_array([pa.nulls(len(column), pa.int32())]), pa.nulls(0)
    encoded = column.dictionary_encode().unify_dictionaries()
    places = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32())
    return places, encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], column.type)


def _numbers(count: int) -> pa.Array:
    return pa.array(np.arange(count, dtype=np.int32))


def _nearest(probe: _Probe, view: ViewRows) -> str:
    """For each row of the spine the row that counts: place, moment, at (null: none), value_…"""
    # Of rows of one moment, the one created last: as one number, which sorts in a fifth less time than a pair.
    bound = "moment" if view.created is None else _order("moment", str(_LAST_US))
    return f"""
        SELECT {_listed("place", "moment", '"at"', view=view)}
        FROM {probe.rows} AS asked ASOF LEFT JOIN ({_coded(probe, view)}) AS own
        ON asked.code = own.code AND {bound} >= own.place_in_time
        """


def _coded(probe: _Probe, view: ViewRows) -> str:
    """The rows of the spine's entities: code, at, created, place_in_time, value_…"""
    order = '"at"' if view.created is None else _order('"at"', f"coalesce(epoch_us(created), {_FIRST_US})")
    return f"""
        SELECT {_listed("code", '"at"', "created", view=view)}, {order} AS place_in_time
        FROM {ROWS} JOIN {probe.entities} USING ({", ".join(numbered("key", view.keys))})
        """


def _order(at: str, created_us: str) -> str:
    """Grows with `at`, and with `created` where that is the same. A null `created` comes first: it loses."""
    return f"epoch_us({at})::DECIMAL(38, 0) * {2**64} + {created_us}"


def _listed(*columns: str, view: ViewRows) -> str:
    return ", ".join([*columns, *numbered("value", view.features)])


def _known(probe: _Probe, view: ViewRows) -> str:
    """The same of the rows that were written by then: a second bound, which an as-of join does not have."""
    if view.created is None:
        raise InputError(f"view {view.name!r}: its rows do not say when they were written, so 'known' means nothing")
    values = numbered("value", view.features)
    held = ", ".join(f"{value} := {value}" for value in values)
    return f"""
        SELECT place, moment, held."at", {", ".join(f"held.{value}" for value in values)}
        FROM {probe.rows} LEFT JOIN (
            SELECT place, arg_max(struct_pack("at" := "at", {held}), place_in_time) AS held
            FROM {probe.rows} AS asked JOIN ({_coded(probe, view)}) AS own
            ON asked.code = own.code AND "at" <= moment AND (known IS NULL OR created IS NULL OR created <= known)
            GROUP BY place
        ) AS last USING (place)
        """


def _fresh(query: str, view: ViewRows) -> str:
    """place, whether there was any row, and the values of those that have not outlived their time: in order at last,
    because DuckDB keeps no order that an inner query has."""
    values = numbered("value", view.features)
    if view.ttl is not None:
        holds = f'"at" >= moment - to_microseconds({view.ttl // timedelta(microseconds=1)})'
        values = [f"CASE WHEN {holds} THEN {value} END AS {value}" for value in values]
    return f"""
        SELECT {", ".join(["place", '"at" IS NOT NULL AS found', *values])}
        FROM ({query})
        ORDER BY place
        """


def _with_empty(values: pa.ChunkedArray, absent: pa.ChunkedArray, feature: Feature) -> pa.ChunkedArray:
    if feature.empty is None:
        return values
    return pc.if_else(absent, pa.scalar(feature.empty, values.type), values)


class Columns(Protocol):
    """What a view takes of a spine, and what it adds."""

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """As of `ViewRows`."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """As of `ViewRows`."""


def check_columns(spine: pa.Table, timestamp: str, views: Sequence[Columns], known: str | None = None) -> None:
    """Refuse a spine that lacks what views need, or a result that would have a column twice.

    Raises:
        InputError: says which.
    """
    needed = dict.fromkeys([key for view in views for key, _ in view.keys] + [timestamp] + ([known] if known else []))
    missing = [column for column in needed if column not in spine.column_names]
    if missing:
        raise InputError(
            f"spine: no column {', '.join(missing)}; it has {', '.join(spine.column_names) or 'none'}",
            hint=f"needed: {', '.join(needed)}",
        )
    names = spine.column_names + [feature.name for view in views for feature in view.features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the result would have twice: {', '.join(twice)}", hint="ask for full feature names")


def moments_of(spine: pa.Table, timestamp: str) -> pa.ChunkedArray:
    """The spine's moments, timestamp[us, UTC]; naive ones are UTC.

    Raises:
        InputError: a column of another type.
    """
    column = spine[timestamp]
    if not pa.types.is_timestamp(column.type):
        raise InputError(f"spine: column {timestamp!r} is {column.type}, expected timestamps")
    if column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    # Downwards, so that a moment of nanoseconds does not see a row that is stamped after it.
    return pc.floor_temporal(column, unit="microsecond").cast(MOMENT)


def as_key(view: ViewRows, spine: pa.Table, column: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of the spine in the type of the view's key.

    Raises:
        InputError: it does not fit.
    """
    values = spine[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    # 12.0 would never equal "12": a column of integers with a gap becomes floats in pandas.
    fits = not pa.types.is_floating(values.type) or pa.types.is_floating(kind)
    problem = f"spine: column {column!r} is {values.type}, but the key of view {view.name!r} is {kind}"
    if not fits:
        raise InputError(problem)
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(problem) from error
