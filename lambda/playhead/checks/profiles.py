"""Profiles of a table's columns by day: made in DuckDB, kept in Delta, so that a day is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeAlias

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import write_deltalake

from playhead.checks.distributions import LEAST, LOG_WIDTH, MOST, Profile
from playhead.config import Settings
from playhead.errors import InputError, UnsupportedError
from playhead.local.sql import compiled
from playhead.serving.delta import delta_table, rows_of
from playhead.serving.lake_rows import open_duckdb
from playhead.stack.process import exclusive

_TEXTS = 1_000
"""So many texts of a day, the most frequent, have a cell of their own."""

_COLUMNS = 8
"""Columns that are counted at once."""

_WAY = "1"
"""How profiles are made. Another one: those that are kept are made again."""

Part: TypeAlias = Literal["value", "length", "items"]
Profiles: TypeAlias = Mapping[tuple[str, str], Profile]
"""(subject, part) to its profile. A list has two parts: its length, and its items."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A column whose values are counted.

    Attributes:
        subject: what it is called.
        keys: columns of the entities that it is about. A value counts as one of the key with the fewest.
    """

    subject: str
    column: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A Delta table by `dt` with columns to measure.

    Attributes:
        source: what kind of table: served, labelled or scores.
        service: whose rows it has.
        path: the table; it may not exist.
        keep: which of its rows count.
        by: a column; each of its values is a subject, in place of the name of what is measured.
    """

    source: str
    service: str
    path: Path
    measured: tuple[Measured, ...]
    keep: Callable[[ir.Table], ir.Table] = lambda rows: rows
    by: str | None = None

    def days(self) -> list[date]:
        """The days that have files, in order."""
        return sorted(map(date.fromisoformat, self._files()))

    def made_of(self) -> dict[str, str]:
        """Day to a digest of its files, and of how they are profiled."""
        way = [_WAY, *(f"{each.subject} {each.column} {each.keys}" for each in self.measured)]
        return {
            day: hashlib.sha256("\n".join([*way, *sorted(files)]).encode()).hexdigest()
            for day, files in self._files().items()
        }

    def _files(self) -> dict[str, list[str]]:
        table, found = delta_table(self.path), dict[str, list[str]]()
        actions = [] if table is None else table.get_add_actions(flatten=True).to_pylist()
        for action in actions:
            found.setdefault(action["partition.dt"], []).append(action["path"])
        return found


def profiles_of(settings: Settings, origin: Origin, days: Iterable[date]) -> Mapping[date, Profiles]:
    """The profiles of days, in `lake/checks/profiles`; those that are not there, or of other files, are made first.

    Args:
        settings: where the lake is, and how much memory there is.
        origin: the table.
        days: those without rows are not in the result.
    """
    wanted, made_of = {day.isoformat() for day in days}, origin.made_of()
    path = settings.lake / "checks" / "profiles"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two checks at once would make the same days, and one of them could not write.
    with exclusive(path.parent / ".profiles.lock"):
        kept = [row for row in _kept(path, origin, wanted) if row["made_of"] == made_of.get(row["dt"])]
        missing = sorted((wanted & made_of.keys()) - {row["dt"] for row in kept})
        if missing:
            made = _made(settings, origin, missing)
            rows = [
                {"source": origin.source, "service": origin.service, "dt": day, "subject": subject, "part": part}
                | {each.name: getattr(profile, each.name) for each in fields(Profile)}
                | {"cells": list(profile.cells.items()), "made_of": made_of[day]}
                for (day, subject, part), profile in made.items()
            ]
            _write(path, origin, missing, rows)
            kept += rows
    found: dict[date, dict[tuple[str, str], Profile]] = {}
    for row in kept:
        values = {each.name: row[each.name] for each in fields(Profile)} | {"cells": dict(row["cells"])}
        found.setdefault(date.fromisoformat(row["dt"]), {})[row["subject"], row["part"]] = Profile(**values)
    return found


def profiles_of_file(settings: Settings, path: Path, measured: Sequence[Measured]) -> Profiles:
    """The profiles of a Parquet file, or of a folder of them, of those columns that it has.

    Raises:
        InputError: it cannot be read, lacks an entity's key, or has nothing to measure.
    """
    try:
        rows = ds.dataset(path, format="parquet")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error
    there = [each for each in measured if each.column in rows.schema.names]
    lacking = sorted({key for each in there for key in each.keys} - {*rows.schema.names})
    if lacking or not there:
        raise InputError(
            f"{path}: no column {', '.join(lacking or [each.column for each in measured])}",
            hint="a reference is what `playhead training-set` writes",
        )
    table = ibis.table(ibis.Schema.from_pyarrow(rows.schema), "rows").mutate(dt=ibis.literal(""))
    found = _profiled(rows, table, there, settings.offline.memory_mb)
    return {(subject, part): profile for (_, subject, part), profile in found.items()}


def _kept(path: Path, origin: Origin, days: set[str]) -> list[dict[str, Any]]:
    table = delta_table(path)
    if table is None or not days:
        return []
    of = [("source", "=", origin.source), ("service", "=", origin.service), ("dt", "in", sorted(days))]
    rows: list[dict[str, Any]] = table.to_pyarrow_table(partitions=of).to_pylist()
    return rows


def _write(path: Path, origin: Origin, days: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    # Days and names of services have no quotes.
    of = f"source = '{origin.source}' AND service = '{origin.service}' AND dt IN ({', '.join(map(repr, days))})"
    write_deltalake(
        path,
        pa.Table.from_pylist(rows, _SCHEMA),
        mode="overwrite",
        predicate=of if delta_table(path) else None,
        partition_by=["source", "service", "dt"],
    )


_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("service", pa.string()),
        ("dt", pa.string()),
        ("subject", pa.string()),
        ("part", pa.string()),
        ("kind", pa.string()),
        ("cells", pa.map_(pa.string(), pa.int64())),
        ("rows", pa.int64()),
        ("nulls", pa.int64()),
        ("other", pa.int64()),
        ("keyed", pa.int64()),
        ("squares", pa.float64()),
        ("made_of", pa.string()),
    ]
)


def _made(settings: Settings, origin: Origin, days: Sequence[str]) -> dict[tuple[str, str, str], Profile]:
    table = delta_table(origin.path)
    if table is None:
        return {}
    rows = rows_of(table, origin.path, [("dt", "in", list(days))])
    measured = [each for each in origin.measured if each.column in rows.schema.names]
    own = origin.keep(ibis.table(ibis.Schema.from_pyarrow(rows.schema), "rows"))
    return _profiled(rows, own, measured, settings.offline.memory_mb, origin.by)


def _profiled(
    rows: ds.Dataset, table: ir.Table, measured: Sequence[Measured], memory_mb: int, by: str | None = None
) -> dict[tuple[str, str, str], Profile]:
    """(dt, subject, part) to its profile. What leaves DuckDB are counts, never rows."""
    found: dict[tuple[str, str, str], Profile] = {}
    with open_duckdb(memory_mb) as connection:
        connection.register("rows", rows)

        def answer(query: ir.Table) -> list[dict[str, Any]]:
            answered: list[dict[str, Any]] = connection.sql(compiled(query)).to_arrow_table().to_pylist()
            return answered

        keys = sorted({key for each in measured for key in each.keys})
        weights = answer(_weights(ibis.union(*(_values(table, by, key, "value") for key in keys))))
        # A sum is as wide as a decimal.
        entities = {(row["dt"], row["of"], row["column"]): (int(row["keyed"]), row["squares"]) for row in weights}
        for begin in range(0, len(measured), _COLUMNS):
            some = {each.column: each for each in measured[begin : begin + _COLUMNS]}
            counts = _gathered(row for query in _counts(table, by, some) for row in answer(query))
            for (dt, of, column, part), own in counts.items():
                of_keys = [entities.get((dt, of, key), (0, 0.0)) for key in some[column].keys]
                keyed, squares = min(of_keys, key=lambda one: one[0] ** 2 / one[1] if one[1] else 0.0)
                subject = some[column].subject if by is None else of
                found[dt, subject, part] = Profile(keyed=keyed, squares=squares, **own)
    return found


def _values(table: ir.Table, by: str | None, column: str, part: Part) -> ir.Table:
    """A column beside what it is."""
    value = table[column]
    if part == "length":
        value = value.length()
    of = ibis.literal("") if by is None else table[by]
    rows = table.select("dt", of=of, column=ibis.literal(column), part=ibis.literal(part), value=value)
    if part == "items":
        rows = rows.mutate(value=rows.value.unnest()).filter(ibis._.value.notnull())
    return rows


def _weights(keys: ir.Table) -> ir.Table:
    """How many rows are of a known entity, and the sum over entities of the squares of their rows."""
    known = keys.filter(keys.value.notnull()).group_by("dt", "of", "column", "value").agg(rows=ibis._.count())
    size = known.rows.cast("float64")
    return known.group_by("dt", "of", "column").agg(keyed=known.rows.sum(), squares=(size * size).sum())


def _counts(table: ir.Table, by: str | None, columns: Iterable[str]) -> list[ir.Table]:
    """Counts by `dt`, `of`, `column`, `part` and `cell`; nulls have no cell, nor have the `other` texts.

    Raises:
        UnsupportedError: a type that has no profile.
    """
    numbers, texts = list[ir.Table](), list[ir.Table]()
    for column in columns:
        kind = table[column].type()
        if kind.is_array():
            numbers.append(_values(table, by, column, "length"))
            texts.append(_values(table, by, column, "items"))
        elif kind.is_numeric():
            numbers.append(_values(table, by, column, "value"))
        elif kind.is_string() or kind.is_boolean():
            texts.append(_values(table, by, column, "value"))
        else:
            raise UnsupportedError(f"column {column}: there is no profile of {kind}")
    found = []
    if numbers:
        found.append(_number_counts(ibis.union(*(each.mutate(value=each.value.cast("float64")) for each in numbers))))
    if texts:
        found.append(_text_counts(ibis.union(*(each.mutate(value=each.value.cast("string")) for each in texts))))
    return found


_PLACE = ("dt", "of", "column", "part")


def _number_counts(rows: ir.Table) -> ir.Table:
    """See `playhead.checks.distributions`: cell 1 begins at `LEAST`. What is no number counts as null."""
    size = ibis.greatest(ibis.least(rows.value.abs() / LEAST, MOST / LEAST), 1.0)
    cell = (rows.value.sign() * (size.ln() / LOG_WIDTH).ceil()).cast("int64").cast("string")
    own = rows.select(*_PLACE, cell=ibis.ifelse(rows.value.isnan(), ibis.null("string"), cell))
    counts = own.group_by(*_PLACE, "cell").agg(n=own.count())
    return counts.mutate(kind=ibis.literal("number"), other=ibis.literal(False))


def _text_counts(rows: ir.Table) -> ir.Table:
    counts = rows.group_by(*_PLACE, cell=rows.value).agg(n=rows.count())
    order = ibis.window(group_by=[*_PLACE, counts.cell.isnull()], order_by=[ibis.desc("n"), "cell"])
    ranked = counts.mutate(other=counts.cell.notnull() & (ibis.row_number().over(order) >= _TEXTS))
    cell = ibis.ifelse(ranked.other, ibis.null("string"), ranked.cell)
    return ranked.group_by(*_PLACE, "other", cell=cell).agg(n=ranked.n.sum()).mutate(kind=ibis.literal("text"))


def _gathered(counts: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """(dt, of, column, part) to the counts of a profile."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for row in counts:
        place = row["dt"], row["of"], row["column"], row["part"]
        own = found.setdefault(place, {"kind": row["kind"], "cells": {}, "rows": 0, "nulls": 0, "other": 0})
        count = int(row["n"])
        own["rows"] += count
        if row["cell"] is not None:
            own["cells"][row["cell"]] = count
        else:
            own["other" if row["other"] else "nulls"] += count
    for (dt, of, column, part), own in [*found.items()]:
        if part == "length":
            # Items are of the same rows.
            items = found.setdefault((dt, of, column, "items"), {"kind": "text", "cells": {}, "other": 0})
            items |= {name: own[name] for name in ("rows", "nulls")}
    return found
