"""Daily partials: the sums of a day, from which the windows of days are made.

A partial is right as long as the day's files and the meaning of its measures are what they were. Both are kept as a
digest beside the tables, so that a run finds by itself what is missing, what late events have changed, and what a new
declaration has.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeAlias

from pyspark.sql import DataFrame, SparkSession

from playhead.batch.events import digest_of
from playhead.batch.jobs import side_by_side
from playhead.batch.sql import compiled, run
from playhead.batch.tables import replace_days
from playhead.days import PartialTable, dated_events

_DIGESTS = "_digests.json"


Pending: TypeAlias = Mapping[str, Mapping[date, str | None]]
"""Name of a table to the days to compute, each with the digest of what it will be made from."""


def pending(lake: Path, tables: Sequence[PartialTable], days: Iterable[date], again: Collection[date]) -> Pending:
    """What is to be computed: the days of `again`, and of the others those that a table lacks or has otherwise.

    Ask before the events are read: a file that comes meanwhile then makes its day pending the next time.
    """
    kept, days = _kept(lake), sorted({*days, *again})
    files = {day: digest_of(lake, day) for day in days}
    found: dict[str, dict[date, str | None]] = {}
    for table in tables:
        meaning, known = compiled(table.rows(dated_events())), kept.get(table.name, {})
        now = {day: files[day] and _digest(meaning, str(files[day])) for day in days}
        found[table.name] = {d: own for d, own in now.items() if d in again or own != known.get(d.isoformat())}
    return found


def write_partials(
    spark: SparkSession, lake: Path, tables: Sequence[PartialTable], events: DataFrame, todo: Pending
) -> None:
    """Replace the partials of the pending days.

    Args:
        spark: the session.
        lake: its root.
        tables: what to write.
        events: all events of these days.
        todo: which days of which table.
    """
    writes = []
    for table in (t for t in tables if todo[t.name]):
        days = list(todo[table.name])
        rows = run(spark, table.rows(dated_events()), events=events)
        rows = rows.where(rows.dt.isin([day.isoformat() for day in days]))
        writes.append(functools.partial(replace_days, rows, partials_path(lake, table.name), days))
    side_by_side(writes)
    kept = _kept(lake)
    for name, own in todo.items():
        kept[name] = kept.get(name, {}) | {day.isoformat(): digest for day, digest in own.items()}
    _keep(lake, kept)


def partials_path(lake: Path, name: str) -> Path:
    """Where a table of partials is."""
    return lake / "daily" / name


def _digest(meaning: str, files: str) -> str:
    return hashlib.sha256(f"{meaning}{files}".encode()).hexdigest()[:16]


def _kept(lake: Path) -> dict[str, dict[str, str | None]]:
    file = lake / "daily" / _DIGESTS
    kept: dict[str, dict[str, str | None]] = json.loads(file.read_text()) if file.is_file() else {}
    return kept


def _keep(lake: Path, digests: Mapping[str, Mapping[str, str | None]]) -> None:
    file = lake / "daily" / _DIGESTS
    draft = file.with_name(f".{_DIGESTS}")
    draft.write_text(json.dumps(digests, indent=1, sort_keys=True))
    draft.replace(file)
