"""The as-of join: for every row of a spine, the values that held at its moment. On DuckDB, over Parquet and Delta.

Of an entity's rows with `event_timestamp <= moment` the latest counts; of rows with the same event timestamp (the
archive repeats rows after a restart) the one created last. Rows older than the view's time to live count as absent.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from playhead.errors import InputError
from playhead.lake_files import finished_files
from playhead.serving.delta import delta_table

MOMENT = pa.timestamp("us", tz="UTC")
AT = dt.Timestamp(timezone="UTC", scale=6)
"""Type of every point in time here, for Arrow and for ibis."""


@dataclass(frozen=True)
class Feature:
    """A column of a view: what it is called in the lake and in the result.

    `kind` is its type in the result; None: as it is in the lake. A column that no file has is null. `empty` is the
    value of an entity that has no row yet; a row that outlived its time to live is null all the same.
    """

    column: str
    name: str
    kind: pa.DataType | None = None
    empty: int | float | None = None


@dataclass(frozen=True, kw_only=True)
class ViewRows:
    """Rows of one view in the lake, and what is taken from them.

    Args:
        name: the view, for errors.
        path: a Parquet file, a folder of them, or a Delta table. It may not exist yet: there are no rows then.
        keys: pairs of (column of the spine, column of the rows).
        features: what is taken.
        timestamp: column of event timestamps; a naive one is UTC.
        created: column that says when a row was written, if there is one.
        ttl: how long a row holds; None: until the next.
    """

    name: str
    path: Path
    format: Literal["parquet", "delta"]
    keys: tuple[tuple[str, str], ...]
    features: tuple[Feature, ...]
    timestamp: str = "event_timestamp"
    created: str | None = None
    ttl: timedelta | None = None

    @property
    def stamps(self) -> list[str]:
        """Columns of time: when a row holds from, and when it was written."""
        return [self.timestamp] + ([self.created] if self.created else [])


@contextlib.contextmanager
def open_duckdb() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory, in UTC, which spills to a folder that is removed with it."""
    with tempfile.TemporaryDirectory(prefix="playhead-duckdb-") as spill, duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        # A long query draws its bar on standard output, which belongs to the command's result. In a notebook it is off,
        # and may not be set where there are no widgets.
        if connection.sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
            connection.sql("SET enable_progress_bar = false")
        connection.execute("SET temp_directory = $folder", {"folder": spill})
        yield connection


def as_of(spine: pa.Table, timestamp: str, views: Sequence[ViewRows]) -> pa.Table:
    """Attach the values that held at each row's moment.

    Args:
        spine: any columns, among them the views' keys and `timestamp`. Naive timestamps are UTC; null ones, null keys
            and unknown entities get nulls.
        timestamp: name of the spine's column of moments.
        views: where the values are.

    Returns:
        The spine as it is, every row once and in its order, then the features of each view.

    Raises:
        InputError: a column that the spine lacks or that the result would have twice, a key whose type does not fit,
            or rows that cannot be read.
    """
    check_columns(spine, timestamp, views)
    moments = moments_of(spine, timestamp)
    with open_duckdb() as connection:
        for view in views:
            held = _held(connection, view, spine, moments)
            for feature, column in zip(view.features, held, strict=True):
                spine = spine.append_column(feature.name, column)
    return spine


def rows_between(view: ViewRows, start: datetime | None, end: datetime | None, *, latest: bool) -> pa.Table:
    """The view's rows with `start <= event timestamp <= end`.

    Args:
        view: where the rows are; its `ttl` and the spine's side of its keys do not matter.
        start: aware; None: from the first row.
        end: aware; None: to the last row.
        latest: only the latest row of each entity.

    Returns:
        The keys, the features, the event timestamp and, if the view has one, the creation timestamp. One row per
        (entity, event timestamp), or one per entity.
    """
    names = [*(column for _, column in view.keys), *(f.name for f in view.features), *view.stamps]
    with open_duckdb() as connection:
        rows = _rows(connection, view)
        if rows is None:
            kinds = [pa.string() for _ in view.keys] + [f.kind or pa.null() for f in view.features]
            return pa.table([pa.nulls(0, kind) for kind in kinds + [MOMENT for _ in view.stamps]], names=names)
        table = _run(connection, view, _between(rows, view, start, end, latest))
    types = {f.name: f.kind for f in view.features if f.kind} | dict.fromkeys(view.stamps, MOMENT)
    columns = [column.cast(types.get(name, column.type)) for name, column in zip(names, table.columns, strict=True)]
    return pa.table(columns, names=names)


def rows_within(spine: pa.Table, view: ViewRows) -> pa.Table:
    """All rows of a view in each row's span.

    Args:
        spine: `place` (int64), `key`, and a span from `since` to before `until` (timestamp[us, UTC]).
        view: with one key.

    Returns:
        `place`, the row's event timestamp as `at`, and the features under their names; in no order.
    """
    names = [feature.name for feature in view.features]
    with open_duckdb() as connection:
        rows = _rows(connection, view)
        if rows is None:
            kinds = [f.kind or pa.null() for f in view.features]
            return pa.table([pa.nulls(0, kind) for kind in (pa.int64(), MOMENT, *kinds)], names=["place", "at", *names])
        connection.register("spine", spine)
        asked = ibis.table(ibis.schema({"place": "int64", "key": "string", "since": AT, "until": AT}), "spine")
        found = asked.join(rows, [asked.key == rows.key_0, rows.at >= asked.since, rows.at < asked.until])
        table = _run(connection, view, found.select("place", "at", *_numbered("value", view.features)))
    columns = [column.cast(f.kind or column.type) for f, column in zip(view.features, table.columns[2:], strict=True)]
    return pa.table([table["place"], table["at"].cast(MOMENT), *columns], names=["place", "at", *names])


def _between(rows: ir.Table, view: ViewRows, start: datetime | None, end: datetime | None, latest: bool) -> ir.Table:
    """Columns key_…, value_…, at, created (where the view has it)."""
    if start is not None:
        rows = rows.filter(rows.at >= ibis.literal(start, AT))
    if end is not None:
        rows = rows.filter(rows.at <= ibis.literal(end, AT))
    keys = _numbered("key", view.keys)
    group = keys if latest else [*keys, "at"]
    newest_first = ibis.window(group_by=group, order_by=[ibis.desc(rows.at), ibis.desc(rows.created)])
    newest = rows.mutate(place=ibis.row_number().over(newest_first)).filter(ibis._.place == 0)
    stamps = ["at", "created"][: len(view.stamps)]
    return newest.order_by("at", *keys).select(*keys, *_numbered("value", view.features), *stamps)


def _held(
    connection: duckdb.DuckDBPyConnection, view: ViewRows, spine: pa.Table, moments: pa.ChunkedArray
) -> list[pa.ChunkedArray]:
    """The view's features for every row of the spine, in its order."""
    rows = _rows(connection, view)
    known = [spine[column] for column, _ in view.keys] + [moments]
    absent = functools.reduce(pc.and_, (column.is_valid() for column in known))
    if rows is None:
        return [
            _with_empty(pa.chunked_array([pa.nulls(len(absent), f.kind or pa.null())]), absent, f)
            for f in view.features
        ]
    keys = _numbered("key", view.keys)
    columns = {"place": pa.array(range(spine.num_rows), pa.int64()), "moment": moments}
    for key, (column, _) in zip(keys, view.keys, strict=True):
        columns[key] = as_key(view, spine, column, rows.schema().to_pyarrow().field(key).type)
    connection.register("spine", pa.table(columns))
    types = {key: rows[key].type() for key in keys}
    probe = ibis.table(ibis.schema({"place": "int64", "moment": AT} | types), "spine")
    # In two queries, because as one the join would run twice: on keys and times only, then for the values hit.
    connection.register("nearest", _run(connection, view, _nearest(probe, rows, keys, view.ttl)))
    nearest = ibis.table(ibis.schema({"place": "int64", "at": AT, "found": "boolean"} | types), "nearest")
    table = _run(connection, view, _values(nearest, rows, keys, _numbered("value", view.features)))
    absent = pc.and_not(absent, table["found"])
    values = zip(view.features, table.columns[2:], strict=True)
    return [_with_empty(column.cast(f.kind or column.type), absent, f) for f, column in values]


def _with_empty(values: pa.ChunkedArray, absent: pa.ChunkedArray, feature: Feature) -> pa.ChunkedArray:
    if feature.empty is None:
        return values
    return pc.if_else(absent, pa.scalar(feature.empty, values.type), values)


def _nearest(spine: ir.Table, rows: ir.Table, keys: list[str], ttl: timedelta | None) -> ir.Table:
    """For each row of the spine its place, its keys, the event timestamp that counts (null: none), and whether there
    was any row.
    """
    times = rows.select(*keys, "at")
    found = spine.asof_join(times, on=spine.moment >= times.at, predicates=[spine[k] == times[k] for k in keys])
    at = found.at
    if ttl is not None:
        at = ibis.ifelse(found.at >= found.moment - ibis.interval(ttl), found.at, ibis.null(AT))
    return found.select("place", *keys, at=at, found=found.at.notnull())


def _values(nearest: ir.Table, rows: ir.Table, keys: list[str], values: list[str]) -> ir.Table:
    """For each row of the spine, in its order, its place, `found`, and the values of the row created last."""
    hit = rows.semi_join(nearest, [*keys, "at"])
    # argmax passes over rows whose order is null; such a row must lose, not vanish.
    created = ibis.coalesce(hit.created, ibis.literal(datetime.min.replace(tzinfo=UTC), AT))
    last = hit.group_by(*keys, "at").agg(held=ibis.struct({v: hit[v] for v in values}).argmax(created))
    joined = nearest.left_join(last, [*keys, "at"])
    return joined.select("place", "found", **{v: joined.held[v] for v in values}).order_by("place")


def _rows(connection: duckdb.DuckDBPyConnection, view: ViewRows) -> ir.Table | None:
    """The view's rows as columns key_…, at, created, value_…; None while there are none."""
    with _reading(view):
        source = _open(connection, view)
    if source is None:
        return None
    source.create_view("rows", replace=True)
    # Read as Arrow, because that is the type system which DuckDB and ibis share.
    schema = source.limit(0).to_arrow_table().schema
    table = ibis.table(ibis.Schema.from_pyarrow(schema), "rows")
    for column in [*(column for _, column in view.keys), *view.stamps]:
        if column not in schema.names:
            raise InputError(
                f"view {view.name!r}: {view.path} has no column {column!r}; it has {', '.join(schema.names)}"
            )
    at = table[view.timestamp].cast(AT)
    created = table[view.created].cast(AT) if view.created else at
    keys = {key: table[column] for key, (_, column) in zip(_numbered("key", view.keys), view.keys, strict=True)}
    values = {
        value: table[f.column] if f.column in schema.names else ibis.null()
        for value, f in zip(_numbered("value", view.features), view.features, strict=True)
    }
    return table.select(**keys, at=at, created=created, **values)


def _open(connection: duckdb.DuckDBPyConnection, view: ViewRows) -> duckdb.DuckDBPyRelation | None:
    if view.format == "delta":
        return _open_delta(connection, view)
    files = [view.path] if view.path.is_file() else finished_files(view.path)
    if not files:
        return None
    # By name, because a group's files from before and after a new feature stand side by side.
    return connection.read_parquet([glob.escape(str(f)) for f in files], hive_partitioning=False, union_by_name=True)


def _open_delta(connection: duckdb.DuckDBPyConnection, view: ViewRows) -> duckdb.DuckDBPyRelation | None:
    # Here, as in `delta_table`.
    from deltalake.exceptions import DeltaError

    try:
        table = delta_table(view.path)
        if table is None:
            return None
        connection.register("delta", table.to_pyarrow_dataset())
    except DeltaError as error:
        raise _unreadable(view, error) from error
    return connection.table("delta")


class Columns(Protocol):
    """What a view takes of a spine, and what it adds."""

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """As of `ViewRows`."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """As of `ViewRows`."""


def check_columns(spine: pa.Table, timestamp: str, views: Sequence[Columns]) -> None:
    """Refuse a spine that lacks what views need, or a result that would have a column twice.

    Raises:
        InputError: says which.
    """
    needed = dict.fromkeys([key for view in views for key, _ in view.keys] + [timestamp])
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
    if fits:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return values.cast(kind)
    raise InputError(f"spine: column {column!r} is {values.type}, but the key of view {view.name!r} is {kind}")


def _numbered(prefix: str, items: Sequence[Any]) -> list[str]:
    # Own names inside the query: a feature may be called like a key, or `at`.
    return [f"{prefix}_{i}" for i in range(len(items))]


def _run(connection: duckdb.DuckDBPyConnection, view: ViewRows, query: ir.Table) -> pa.Table:
    with _reading(view):
        return connection.sql(ibis.to_sql(query, dialect="duckdb")).to_arrow_table()


@contextlib.contextmanager
def _reading(view: ViewRows) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise _unreadable(view, error) from error


def _unreadable(view: ViewRows, error: Exception) -> InputError:
    return InputError(f"view {view.name!r}: cannot read {view.path}: {error}")
