"""Dimensions in the lake: `lake/dimensions/<name>`, Delta, a row per (key, valid_from_ms), and what is made of it.

Beside it stands the file in which the stream looks rows up; of groups of attributes the current rows are online.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import write_deltalake

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import VALID_FROM_MS, Dimension
from playhead.dimensions import arrow_schema, loaded_kinds, lookup_file, table_path, write_rows
from playhead.errors import InputError, did_you_mean
from playhead.plan import AttributePlan
from playhead.relations import DAY_MS
from playhead.serving.delta import delta_table
from playhead.serving.lake_rows import open_duckdb
from playhead.serving.online import OnlineStore, open_online_store
from playhead.serving.packed import Packer
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT, moments, read_table
from playhead.stack.process import exclusive

log = structlog.get_logger()

VALID_FROM = "valid_from"
"""The column of a file that says from when a row holds; without it a row has always held."""

CREATED_AT = "created_at"
"""The column of the table that says when a row was loaded; `event_timestamp` is `valid_from_ms` as a timestamp."""

_ONLINE_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load did.

    Attributes:
        dimension: which.
        read: rows of the files.
        new: of them, those that the table did not have.
        changed: those that it had otherwise.
        rows: rows of the table now.
        keys: its keys.
        online: group of attributes to rows written; those that hold later only are not among them.
        later: rows read that hold later only: load again when their time has come.
        seconds: how long it took.
    """

    dimension: str
    read: int
    new: int
    changed: int
    rows: int
    keys: int
    online: Mapping[str, int]
    later: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}


def load_dimension(
    settings: Settings,
    declarations: Declarations,
    name: str,
    files: Sequence[Path],
    *,
    valid_from: datetime | None = None,
    now_ms: Callable[[], int] = lambda: round(time.time() * 1_000),
) -> Loaded:
    """Bring rows into a dimension: those of a (key, valid_from) that it has take the place of the old. Doing it again
    changes nothing.

    Args:
        settings: says where the lake and the online store are.
        declarations: what is declared.
        name: of a declared dimension.
        files: as of `read_file`.
        valid_from: of rows of files that do not say it, aware; None: they have always held.
        now_ms: the clock, epoch milliseconds.

    Raises:
        UnknownName: no such dimension.
        InputError: a file that does not fit; it says where.
        StackError: the online store does not answer.
    """
    began = time.monotonic()
    dimension = declarations.dimension(name)
    plans = [plan for plan in declarations.attribute_plans if plan.dimension == dimension]
    since_ms = round(valid_from.timestamp() * 1_000) if valid_from else 0
    given = read_rows(files, dimension, since_ms)
    with open_online_store(settings.redis) as store, exclusive(_lock(settings.lake, dimension)):
        new, changed = _upsert(settings.lake, dimension, given)
        rows = read_dimension(settings.lake, dimension)
        write_rows(dimension, rows, lookup_file(settings.lake, dimension))
        at_ms = now_ms()
        read = rows.join(given.select([dimension.key]), dimension.key, join_type="left semi")
        current = _current(read, dimension, at_ms)
        online = {plan.name: _publish(store, plan, current) for plan in plans}
    done = Loaded(
        dimension=name,
        read=given.num_rows,
        new=new,
        changed=changed,
        rows=rows.num_rows,
        keys=pc.count_distinct(rows[dimension.key]).as_py(),
        online=online,
        later=pc.sum(pc.greater(given[VALID_FROM_MS], at_ms)).as_py() or 0,
        seconds=time.monotonic() - began,
    )
    results.save(settings, f"dimension_{name}", done.to_json())
    log.info("dimension loaded", **done.to_json())
    return done


def read_rows(files: Sequence[Path], dimension: Dimension, valid_from_ms: int = 0) -> pa.Table:
    """Rows of a dimension from files, as of `read_file`.

    Raises:
        InputError: a key and `valid_from` that are there twice.
    """
    given = pa.concat_tables([read_file(file, dimension, valid_from_ms) for file in files])
    _check_unique(files, dimension, given)
    return given


def read_file(file: Path, dimension: Dimension, valid_from_ms: int = 0) -> pa.Table:
    """Rows of a dimension from a file.

    Args:
        file: `.csv` with a header, or `.parquet`: the key, the dimension's columns, and `valid_from`, a moment, or not.
            Further columns are passed over.
        dimension: says which columns, and their types. Digits of a decimal that it does not have are rounded away.
        valid_from_ms: of rows that do not say it, also by a null.

    Returns:
        The columns of `playhead.dimensions.arrow_schema`, in the order of the file.

    Raises:
        InputError: a column that is missing or does not fit, or a row without a key.
    """
    texts = {dimension.key, VALID_FROM, *(c for c, kind in dimension.columns.items() if kind == "string")}
    table = read_table(file, texts)
    for column in (dimension.key, *dimension.columns):
        if column not in table.column_names:
            raise InputError(
                f"{file}: no column {column!r}; it has {', '.join(table.column_names) or 'none'}",
                hint=did_you_mean(column, table.column_names) or f"dimension {dimension.name!r} is declared with it",
            )
    if table[dimension.key].null_count:
        row = pc.index(table[dimension.key].is_null(), True).as_py() + 1
        raise InputError(f"{file}: row {row}: {dimension.key} is null, expected text")
    columns = {dimension.key: _cast(file, dimension.key, table[dimension.key], pa.string())}
    if VALID_FROM in table.column_names:
        columns[VALID_FROM_MS] = _since(file, table[VALID_FROM], valid_from_ms)
    else:
        columns[VALID_FROM_MS] = pa.chunked_array([pa.repeat(valid_from_ms, table.num_rows)])
    for column, kind in dimension.types.items():
        values, digits = table[column], dimension.digits(column)
        if digits:
            scaled = pc.multiply(_cast(file, column, values, pa.float64()), 10.0**digits)
            values = pc.round(scaled, round_mode="half_to_even")
        columns[column] = _cast(file, column, values, pa.type_for_alias(kind))
    return pa.table(columns).cast(arrow_schema(dimension))


def read_dimension(lake: Path, dimension: Dimension) -> pa.Table:
    """The rows of a dimension in the lake, in no order; none when nothing was loaded.

    Raises:
        InputError: a column was loaded as another type than it is declared with now.
    """
    loaded = loaded_kinds(lake, dimension)
    for column, kind in dimension.columns.items():
        if loaded.get(column, kind) != kind:
            where = table_path(lake, dimension)
            raise InputError(
                f"dimension {dimension.name!r}: column {column!r} was loaded as {loaded[column]}, but is {kind} now",
                hint=f"declare it under another name; or move {where} and {where}.arrow away, and load all files again",
            )
    table = delta_table(table_path(lake, dimension))
    if table is None:
        return arrow_schema(dimension).empty_table()
    schema = arrow_schema(dimension)
    found = table.to_pyarrow_table()
    # A column that was declared later is null in what was loaded before.
    missing = [field for field in schema if field.name not in found.column_names]
    for field in missing:
        found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    return found.select(schema.names).cast(schema)


def digests(lake: Path, dimension: Dimension) -> Callable[[int], str]:
    """What the enrichment of a day depends on: epoch ms of a day's end → 16 hex digits that change when a row that
    holds before it does.
    """
    rows = read_dimension(lake, dimension)
    with open_duckdb() as connection:
        connection.register("rows", rows)
        own = connection.table("rows").project(f"valid_from_ms // {DAY_MS} AS day, hash(rows) AS row")
        days = own.aggregate("day, count(*), bit_xor(row)", "day").order("day").fetchall()

    def until(end_ms: int) -> str:
        return hashlib.sha256(repr([day for day in days if day[0] * DAY_MS < end_ms]).encode()).hexdigest()[:16]

    return until


def _lock(lake: Path, dimension: Dimension) -> Path:
    """Of one load at a time: the stream's file is of the table as it is after the last."""
    file = table_path(lake, dimension).with_name(f".{dimension.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _upsert(lake: Path, dimension: Dimension, given: pa.Table) -> tuple[int, int]:
    """Write what the table does not have, or has otherwise; how many rows of each."""
    old, keys = read_dimension(lake, dimension), [dimension.key, VALID_FROM_MS]
    with open_duckdb() as connection:
        # A difference of sets takes null for equal to null, which a join does not.
        connection.register("old", old)
        connection.register("given", given)
        found = connection.table("given").except_(connection.table("old")).to_arrow_table()
    changed = found.join(old.select(keys), keys, join_type="left semi").num_rows
    if not found.num_rows:
        return 0, 0
    stamped = found.cast(given.schema)
    stamped = stamped.append_column(
        EVENT_TIMESTAMP, stamped[VALID_FROM_MS].cast(pa.timestamp("ms", "UTC")).cast(MOMENT)
    )
    stamped = stamped.append_column(CREATED_AT, pa.repeat(pa.scalar(datetime.now(UTC), MOMENT), stamped.num_rows))
    table = delta_table(table_path(lake, dimension))
    if table is None:
        write_deltalake(table_path(lake, dimension), stamped, name=dimension.name)
    else:
        matched = " AND ".join(f"old.{column} = new.{column}" for column in keys)
        merge = table.merge(stamped, matched, source_alias="new", target_alias="old", merge_schema=True)
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    return found.num_rows - changed, changed


def _current(rows: pa.Table, dimension: Dimension, at_ms: int) -> pa.Table:
    """Of each key the row that holds at a moment."""
    held = rows.filter(pc.less_equal(rows[VALID_FROM_MS], at_ms))
    newest = held.group_by(dimension.key).aggregate([(VALID_FROM_MS, "max")])
    newest = newest.rename_columns({f"{VALID_FROM_MS}_max": VALID_FROM_MS})
    return held.join(newest, [dimension.key, VALID_FROM_MS], join_type="left semi")


def _publish(store: OnlineStore, plan: AttributePlan, current: pa.Table) -> int:
    """Write current rows to the online store; return how many were not older than what it had."""
    packer, names = Packer.of(plan), [name for name, _ in plan.schema]

    def packed(batch: pa.RecordBatch) -> Iterable[tuple[str, bytes]]:
        for row in batch.to_pylist():
            yield row[plan.key], packer.pack(row[VALID_FROM_MS], {name: row[name] for name in names})

    return sum(
        store.write(plan.name, packed(batch), keep=plan.ttl).written for batch in current.to_batches(_ONLINE_ROWS)
    )


def _check_unique(files: Sequence[Path], dimension: Dimension, given: pa.Table) -> None:
    counts = given.group_by([dimension.key, VALID_FROM_MS]).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1))
    if twice.num_rows:
        first = twice.to_pylist()[0]
        since = datetime.fromtimestamp(first[VALID_FROM_MS] / 1_000, UTC).isoformat()
        raise InputError(
            f"{', '.join(map(str, files))}: {dimension.key} {first[dimension.key]!r} is there "
            f"{first['count_all']} times with {VALID_FROM} {since} ({twice.num_rows} such)",
            hint=f"a row for each {dimension.key} and {VALID_FROM}",
        )


def _since(file: Path, column: pa.ChunkedArray, otherwise_ms: int) -> pa.ChunkedArray:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    epoch = "1970-01-01" if pa.types.is_string(column.type) else pa.scalar(0, pa.int64()).cast(column.type)
    known = pc.fill_null(column, epoch)
    stamps = moments(file, VALID_FROM, known, earliest_ms=None).cast(pa.timestamp("ms", "UTC"), safe=False)
    return pc.if_else(column.is_valid(), stamps.cast(pa.int64()), otherwise_ms)


def _cast(file: Path, column: str, values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{file}: column {column!r} is {values.type}, expected {kind}: {error}") from error
