"""Rows of views in the lake, opened in DuckDB: Parquet files and Delta tables."""

from __future__ import annotations

import contextlib
import functools
import glob
import operator
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, DuckDBPyRelation, Expression
from duckdb.sqltypes import TIMESTAMP_TZ, VARCHAR

from playhead.days import DAY
from playhead.errors import InputError
from playhead.lake_files import DAY_FOLDER, finished_files
from playhead.serving.delta import delta_table, rows_of

_THREAD_MB = 32

MOMENT = pa.timestamp("us", tz="UTC")
"""Type of every point in time here."""

ROWS = "view_rows"
"""Under which name a query finds what `open_rows` has opened."""


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
        created: column that says when a row was written, if there is one; null: before all others.
        ttl: how long a row holds; None: until the next.
        by_day: whether its files lie in folders `dt=YYYY-MM-DD`, of the UTC day of their event timestamps.
        version: of a Delta table; None: the last.
        files: of a folder of Parquet files, those that count; None: all. None at all: there are no rows, in Delta too.
    """

    name: str
    path: Path
    format: Literal["parquet", "delta"]
    keys: tuple[tuple[str, str], ...]
    features: tuple[Feature, ...]
    timestamp: str = "event_timestamp"
    created: str | None = None
    ttl: timedelta | None = None
    by_day: bool = False
    version: int | None = None
    files: tuple[Path, ...] | None = None

    @property
    def stamps(self) -> list[str]:
        """Columns of time: when a row holds from, and when it was written."""
        return [self.timestamp] + ([self.created] if self.created else [])


@contextlib.contextmanager
def open_duckdb(memory_mb: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory, in UTC, which spills to a folder that is removed with it.

    Args:
        memory_mb: how much it holds before it spills; a result has its order then only where a query says it. None:
            most of the machine's memory.
    """
    with tempfile.TemporaryDirectory(prefix="playhead-duckdb-") as spill, duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        # A long query draws its bar on standard output, which belongs to the command's result. In a notebook it is off,
        # and may not be set where there are no widgets.
        if connection.sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
            connection.sql("SET enable_progress_bar = false")
        connection.execute("SET temp_directory = $folder", {"folder": spill})
        if memory_mb is not None:
            connection.execute("SET memory_limit = $limit", {"limit": f"{memory_mb}MB"})
            # To keep rows in the order of files takes memory.
            connection.sql("SET preserve_insertion_order = false")
            # What a thread is at does not spill.
            threads = max(1, min(os.cpu_count() or 1, memory_mb // _THREAD_MB))
            connection.execute("SET threads = $threads", {"threads": threads})
        yield connection


def open_rows(
    connection: duckdb.DuckDBPyConnection, view: ViewRows, since: datetime | None = None, until: datetime | None = None
) -> pa.Schema | None:
    """The view's rows of a span, in a view of the database called `ROWS`: key_…, at, created, value_….

    Args:
        connection: the database.
        view: where the rows are.
        since: aware; earlier rows are left out. None: no bound.
        until: aware; later rows are left out. None: no bound.

    Returns:
        The schema of what was opened; None while there are no rows.

    Raises:
        InputError: rows that cannot be read, or that lack a key or a timestamp.
    """
    with reading(view):
        source = _open(connection, view, since, until)
    if source is None:
        return None
    for column in [*(column for _, column in view.keys), *view.stamps]:
        if column not in source.columns:
            raise InputError(
                f"view {view.name!r}: {view.path} has no column {column!r}; it has {', '.join(source.columns)}"
            )
    nothing, at = ConstantExpression(None), _moment(view.timestamp)
    columns = {key: ColumnExpression(own) for key, (_, own) in zip(numbered("key", view.keys), view.keys, strict=True)}
    columns |= {"at": at, "created": _moment(view.created) if view.created else at}
    for value, feature in zip(numbered("value", view.features), view.features, strict=True):
        columns[value] = ColumnExpression(feature.column) if feature.column in source.columns else nothing
    with reading(view):
        rows = source.filter(_bounds(source, view, since, until))
        rows = rows.select(*(own.alias(name) for name, own in columns.items())).create_view(ROWS)
        return rows.limit(0).to_arrow_table().schema


def _moment(column: str) -> Expression:
    return ColumnExpression(column).cast(TIMESTAMP_TZ)


def _bounds(source: DuckDBPyRelation, view: ViewRows, since: datetime | None, until: datetime | None) -> Expression:
    """The rows of a span. The bounds reach the files' statistics; those of days that are texts, their partitions."""
    stamp, at = ColumnExpression(view.timestamp), _moment(view.timestamp)
    # A text may have an offset: a day more on either side.
    is_text = source.types[source.columns.index(view.timestamp)] == VARCHAR
    bounds = [at.isnotnull()]
    if since is not None:
        bounds += [at >= ConstantExpression(since)]
        bounds += [stamp >= ConstantExpression(_day(since - DAY))] if is_text else []
    if until is not None:
        bounds += [at <= ConstantExpression(until)]
        bounds += [stamp < ConstantExpression(_day(until + 2 * DAY))] if is_text else []
    return functools.reduce(operator.and_, bounds)


def _open(
    connection: duckdb.DuckDBPyConnection, view: ViewRows, since: datetime | None, until: datetime | None
) -> DuckDBPyRelation | None:
    if view.files == ():
        return None
    if view.format == "delta":
        return _open_delta(connection, view)
    files = view.files or ([view.path] if view.path.is_file() else finished_files(view.path))
    if view.by_day:
        files = [file for file in files if _of_span(file, since, until)]
    if not files:
        return None
    # By name, because a group's files from before and after a new feature stand side by side.
    return connection.read_parquet([glob.escape(str(f)) for f in files], hive_partitioning=False, union_by_name=True)


def _of_span(file: Path, since: datetime | None, until: datetime | None) -> bool:
    day = file.parent.name.removeprefix(DAY_FOLDER)
    if day == file.parent.name:
        return True
    return (since is None or day >= _day(since)) and (until is None or day <= _day(until))


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _open_delta(connection: duckdb.DuckDBPyConnection, view: ViewRows) -> DuckDBPyRelation | None:
    # Here, as in `delta_table`.
    from deltalake.exceptions import DeltaError

    try:
        table = delta_table(view.path, view.version)
        if table is None:
            return None
        connection.register("delta", rows_of(table, view.path))
    except DeltaError as error:
        raise _unreadable(view, error) from error
    return connection.table("delta")


def numbered(prefix: str, items: Sequence[Any]) -> list[str]:
    """Own names for a query's columns: a feature may be called like a key, or `at`.

    >>> numbered("key", ("user_id", "track_id"))
    ['key_0', 'key_1']
    """
    return [f"{prefix}_{i}" for i in range(len(items))]


def run_query(connection: duckdb.DuckDBPyConnection, view: ViewRows, query: str) -> pa.Table:
    """A query over a view's rows, in DuckDB's SQL.

    Args:
        connection: the database.
        view: whose rows `ROWS` has.
        query: its names are those of `open_rows`, never a view's own.

    Raises:
        InputError: rows that cannot be read.
    """
    with reading(view):
        return connection.sql(query).to_arrow_table()


def typed(column: pa.ChunkedArray, kind: pa.DataType | None) -> pa.ChunkedArray:
    """A column of a result in a feature's type. Where all are null DuckDB may have another, that does not become it."""
    if kind is None:
        return column
    return column.cast(kind) if column.null_count < len(column) else pa.chunked_array([pa.nulls(len(column), kind)])


@contextlib.contextmanager
def reading(view: ViewRows) -> Iterator[None]:
    """Errors of DuckDB as those of a view's rows.

    Raises:
        InputError: names the view and its path.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        problem = str(error).partition("\n")[0]
        raise InputError(f"view {view.name!r}: {problem}", hint="raise offline.memory_mb") from error
    except (duckdb.Error, OSError) as error:
        raise _unreadable(view, error) from error


def _unreadable(view: ViewRows, error: Exception) -> InputError:
    return InputError(f"view {view.name!r}: cannot read {view.path}: {error}")
