"""The spine of a training set: whose features are wanted, and as of when; and the file that has them beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from playhead.declare import FeatureService
from playhead.errors import InputError
from schemas.decode import EARLIEST_MS

EVENT_TIMESTAMP = "event_timestamp"
"""The column of moments, the name that Feast expects."""

KNOWN_AT = "known_at"
"""A column that a spine may have: of what was written after it nothing counts. Null: everything does."""

MOMENT = pa.timestamp("us", tz="UTC")
_ALLOWED = "ISO 8601 text (without offset: UTC), epoch milliseconds, or a timestamp column; not before 2000"


def read_spine(
    path: Path, keys: Collection[str], texts: Collection[str] = (), features: Collection[str] = ()
) -> pa.Table:
    """Read a spine.

    Args:
        path: a `.csv` file with a header, or a `.parquet` file.
        keys: join keys that the spine must have, besides `event_timestamp`.
        texts: further columns that a CSV file holds as text even where they look like numbers.
        features: columns that will be put beside the spine's, so it must not have them.

    Returns:
        The file's columns and rows in their order. `event_timestamp` is timestamp[us, UTC] without nulls, and
        `known_at`, if it is there, with nulls; keys are strings.

    Raises:
        InputError: a file that is absent, unreadable or of another format, a column that is missing,
            there twice or a feature's, or a value of `event_timestamp` that is no moment.
    """
    table = read_table(path, {*keys, *texts, EVENT_TIMESTAMP, KNOWN_AT})
    needed = [*keys, EVENT_TIMESTAMP]
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(table.column_names) or 'none'}",
            hint=f"a spine for these features needs {', '.join(needed)}",
        )
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {', '.join(twice)} is there twice")
    taken = sorted(set(table.column_names) & set(features))
    if taken:
        raise InputError(f"{path}: it already has {', '.join(taken)}", hint="rename or drop these columns")
    for key in keys:
        table = _with(table, key, _text(path, key, table[key]))
    if KNOWN_AT in table.column_names:
        table = _with(table, KNOWN_AT, moments(path, KNOWN_AT, table[KNOWN_AT], nulls=True))
    return _with(table, EVENT_TIMESTAMP, moments(path, EVENT_TIMESTAMP, table[EVENT_TIMESTAMP]))


def keys_of(service: FeatureService) -> list[str]:
    """Join keys of a service's groups, and of those that its on-demand views are computed from.

    >>> from playhead.declarations import load_declarations
    >>> keys_of(load_declarations().service("listener_v1"))
    ['user_id', 'track_id', 'artist_id']
    """
    return list(dict.fromkeys(group.entity.key for group in service.inputs))


def columns_of(service: FeatureService) -> list[str]:
    """Names of a service's features, `view__feature`, in the order of the declarations."""
    return [f"{view.name}__{feature}" for view in service.views for feature in service.features_of(view)]


def with_defaults(service: FeatureService, features: pa.Table) -> pa.Table:
    """The features with the service's defaults in place of nulls.

    Args:
        service: whose defaults.
        features: columns as of `columns_of`, others too.
    """
    for name, value in service.defaults.items():
        place = features.column_names.index(name.replace(".", "__"))
        column = features.column(place)
        filled = pc.if_else(column.is_valid(), column, pa.scalar(value, column.type))
        features = features.set_column(place, features.field(place), filled)
    return features


def check_output(spine: Path, output: Path) -> None:
    """Refuse an output that is no `.parquet` file in a folder that exists, or that is the spine itself.

    Raises:
        InputError: says which.
    """
    if output.suffix.lower() != ".parquet":
        raise InputError(f"{output}: the output is a .parquet file, got {output.suffix or 'no ending'}")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: no such folder: {output.absolute().parent}")
    if output.is_dir() or (output.exists() and spine.exists() and output.samefile(spine)):
        raise InputError(f"{output}: the output would replace {'a folder' if output.is_dir() else 'the spine'}")


def write_rows(rows: pa.Table, features: pa.Table, output: Path) -> None:
    """Write the spine with the features beside it; the file is replaced whole or left as it was.

    Raises:
        InputError: it cannot be written.
    """
    write_slices([beside(rows, features)], output)


def beside(rows: pa.Table, features: pa.Table) -> pa.Table:
    """The spine's columns, then the features."""
    for name in features.column_names:
        rows = rows.append_column(name, features[name])
    return rows


def write_slices(slices: Iterable[pa.Table], output: Path, metadata: Mapping[bytes, bytes] | None = None) -> None:
    """Write tables one below the other, each as soon as it is there; the file is replaced whole or left as it was.

    Args:
        slices: at least one; all of one schema.
        output: the Parquet file.
        metadata: of its schema.

    Raises:
        InputError: it cannot be written.
    """
    draft = output.with_name(f".{output.name}.draft")
    try:
        with contextlib.ExitStack() as stack:
            writer = None
            for table in slices:
                if writer is None:
                    # What pandas knew about the spine's columns would not fit the new ones.
                    schema = table.schema.with_metadata(metadata)
                    writer = stack.enter_context(pq.ParquetWriter(draft, schema))
                writer.write_table(table.replace_schema_metadata(metadata))
        draft.replace(output)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{output}: cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def read_table(path: Path, texts: set[str]) -> pa.Table:
    """A `.csv` file with a header, or a `.parquet` file.

    Args:
        path: the file.
        texts: columns that are text in a CSV file even where they look like numbers. An empty one is null.

    Raises:
        InputError: a file that is absent, unreadable or of another format.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise InputError(f"{path}: expected a .csv or .parquet file, got {kind or 'no ending'}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if kind == ".parquet":
            # Not read_table: it would look for partitions in the path and add columns from it.
            with pq.ParquetFile(path) as file:
                return file.read()
        # An empty key is no entity, not one without a name.
        options = pa.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=True)
        return pa.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as {kind[1:]}: {error}") from error


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    # 12.0 would never equal "12": a column of integers with a gap becomes floats in pandas.
    if not (pa.types.is_integer(kind) or pa.types.is_null(kind) or _is_text(kind)):
        raise InputError(f"{path}: column {name!r} is {kind}, expected text", hint="write the column as strings")
    return column.cast(pa.string())


def moments(
    path: Path, name: str, column: pa.ChunkedArray, *, earliest_ms: int | None = EARLIEST_MS, nulls: bool = False
) -> pa.ChunkedArray:
    """A column of moments, timestamp[us, UTC]: from timestamps, epoch milliseconds or ISO 8601 text.

    Args:
        path: the file, for errors.
        name: the column, likewise.
        column: its values.
        earliest_ms: moments up to this one are refused; None: none are.
        nulls: whether a null stays one; it is refused otherwise.

    Raises:
        InputError: what is none of these, or not after `earliest_ms`; it names file, column and row.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        aware = column if kind.tz else pc.assume_timezone(column, "UTC")
        found = pc.floor_temporal(aware, unit="microsecond").cast(MOMENT)
    elif pa.types.is_integer(kind):
        found = _from_epoch_ms(column)
    elif _is_text(kind):
        found = _from_text(column.cast(pa.string()))
    elif nulls and pa.types.is_null(kind):
        found = column.cast(MOMENT)
    else:
        raise InputError(f"{path}: column {name!r} is {kind}", hint=f"allowed: {_ALLOWED}")
    wrong = found.is_null()
    if earliest_ms is not None:
        earliest = pa.scalar(datetime.fromtimestamp(earliest_ms / 1000, tz=UTC), MOMENT)
        wrong = pc.fill_null(pc.less_equal(found, earliest), True)
    if nulls:
        wrong = pc.and_(wrong, column.is_valid())
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise InputError(
            f"{path}: row {row + 1}: {name} {column[row].as_py()!r} is no moment "
            f"({pc.sum(wrong).as_py()} of {len(column)} rows)",
            hint=f"allowed: {_ALLOWED}",
        )
    return found


def _from_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if len(column) and pc.all(pc.match_substring_regex(column, r"^\d{1,18}$"), skip_nulls=False).as_py():
        return _from_epoch_ms(column.cast(pa.int64()))
    return pa.chunked_array([pa.array([_moment(text) for text in column.to_pylist()], MOMENT)])


def _moment(text: str | None) -> datetime | None:
    """Digits below the microsecond are cut off; what is no moment becomes null."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _from_epoch_ms(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # A number that no timestamp can hold becomes null, and is then reported like any other.
    fits = pc.less(column, 2**53)
    return (
        pc.if_else(fits, column, pa.scalar(None, column.type))
        .cast(pa.int64())
        .cast(pa.timestamp("ms", "UTC"))
        .cast(MOMENT)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
