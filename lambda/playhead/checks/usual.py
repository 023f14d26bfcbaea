"""What is usual of a table, from the footers of its files: no row is read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from playhead.checks.hours import Usual, days_to_compare
from playhead.lake_files import HOUR_FOLDER

_READERS = 8
_SAME = {
    "int64": {"int64", "int32", "int16", "int8"},
    "double": {"double", "float"},
    "string": {"string", "large_string"},
}
"""Type to the types of a file that are read as it."""


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What a file says of itself.

    Attributes:
        hour: of the folder that it lies in; None of a table without hours.
        nulls: column to its number of nulls, where the file counted them.
        types: column to type; null where it has nulls only.
    """

    path: Path
    hour: int | None
    rows: int
    nulls: Mapping[str, int]
    types: Mapping[str, str]


def footers(files: Iterable[Path]) -> list[Footer]:
    """Of Parquet files, in their order."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_footer, files))


def usual(day: date, there: Iterable[date], files_of: Callable[[date], Sequence[Path]]) -> Usual | None:
    """What a day of a table is held against; None: nothing.

    Args:
        day: the day to be judged.
        there: the days that the table has.
        files_of: finished files of a day.
    """
    of_days = [of_day for d in days_to_compare(day, there) if (of_day := footers(files_of(d)))]
    if not of_days:
        return None
    by_hour = all(one.hour is not None for of_day in of_days for one in of_day)
    shares: dict[str, list[float]] = {}
    rows = []
    for of_day in of_days:
        counts, nulls = Counter[int](), Counter[str]()
        for one in of_day:
            counts[one.hour or 0] += one.rows
            nulls.update(one.nulls)
        rows.append(tuple(counts[hour] for hour in range(24 if by_hour else 1)))
        # A column that a file does not count, or does not have, is not compared by this day.
        counted = set.intersection(*({*one.nulls} for one in of_day))
        for name in counted if counts.total() else ():
            shares.setdefault(name, []).append(nulls[name] / counts.total())
    return Usual(rows=tuple(rows), nulls={name: statistics.median(of_name) for name, of_name in shares.items()})


def other_types(files: Iterable[Footer], expected: Mapping[str, str]) -> dict[Path, dict[str, str]]:
    """Files that have a column of another type than expected, with what `unlike` says of them."""
    found = {one.path: unlike(one.types, expected) for one in files}
    return {path: columns for path, columns in found.items() if columns}


def unlike(types: Mapping[str, str], expected: Mapping[str, str]) -> dict[str, str]:
    """Columns that have another type than expected, with the type that they have; Arrow's names.

    A column that is not there, or null all through, has no other type. A narrower integer is read as a wide one; what a
    list calls its items is the writer's choice.

    >>> unlike({"plays": "string", "age": "int32"}, {"plays": "int64", "age": "int64", "genre": "string"})
    {'plays': 'string'}
    """
    found = {}
    for name, kind in expected.items():
        got = types.get(name, "null")
        if got != "null" and got.partition("<")[0] not in _SAME.get(kind, {kind.partition("<")[0]}):
            found[name] = got
    return found


def hour_of(file: Path) -> int | None:
    """The hour of the folder that a file lies in.

    >>> hour_of(Path("events/dt=2026-03-01/hour=09/part-0")), hour_of(Path("dt=2026-03-01/part-0"))
    (9, None)
    """
    folder = file.parent.name
    return int(folder.removeprefix(HOUR_FOLDER)) if folder.startswith(HOUR_FOLDER) else None


def _footer(file: Path) -> Footer:
    metadata = pq.read_metadata(file)
    nulls, uncounted = Counter[str](), set()
    for group in (metadata.row_group(n) for n in range(metadata.num_row_groups)):
        for column in (group.column(n) for n in range(group.num_columns)):
            # Of what is nested, nulls are of its leaves.
            counts = column.statistics
            if counts is None or not counts.has_null_count or "." in column.path_in_schema:
                uncounted.add(column.path_in_schema)
            else:
                nulls[column.path_in_schema] += counts.null_count
    schema: pa.Schema = metadata.schema.to_arrow_schema()
    return Footer(
        path=file,
        hour=hour_of(file),
        rows=metadata.num_rows,
        nulls={name: nulls[name] for name in schema.names if name in nulls and name not in uncounted},
        types={field.name: str(field.type) for field in schema},
    )
