"""Counts of the lake from the footers of its Parquet files: no row is read, except late marks where there are some."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from playhead.declarations import Declarations
from playhead.errors import InputError
from playhead.lake_files import finished_files
from playhead.local.lake import count_open_sessions
from playhead.plan import SessionPlan
from playhead.report.facts import Lake, LakeTable, Published, Unread
from playhead.report.stages import parse

_READERS = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = "_published.json"


def read_lake(lake: Path, declarations: Declarations) -> tuple[Lake, list[Unread]]:
    """Count every table that is there.

    Args:
        lake: its root; it need not exist.
        declarations: say which group has the sessions.

    Returns:
        The counts, and what could not be read.
    """
    reader = _Reader()
    found = Lake(
        events=reader.table(lake / "events", finished_files(lake / "events"), "event_time_ms", late="late"),
        sessions=reader.table(lake / "sessions", finished_files(lake / "sessions"), "session_end_ms"),
        open_sessions=reader.open_sessions(lake, declarations),
        speed=reader.tables(lake / "speed", "event_timestamp"),
        daily=reader.delta_tables(lake / "daily", None),
        views=reader.delta_tables(lake / "views", None),
        served=reader.delta_tables(lake / "served", "serve_time"),
        labelled=reader.delta_tables(lake / "labelled", None),
        published=reader.published(lake / "views" / _MARK),
    )
    return found, reader.unread


class _Reader:
    """Reads tables, and notes in `unread` what it cannot."""

    def __init__(self) -> None:
        self.unread: list[Unread] = []

    def tables(self, folder: Path, time_column: str) -> dict[str, LakeTable]:
        """The tables of a folder by name."""
        found = {each.name: self.table(each, finished_files(each), time_column) for each in _folders(folder)}
        return {name: table for name, table in found.items() if table is not None}

    def delta_tables(self, folder: Path, time_column: str | None) -> dict[str, LakeTable]:
        """The Delta tables of a folder by name."""
        found = {}
        # A folder without a log is no table: a first run has not committed.
        for each in (each for each in _folders(folder) if DeltaTable.is_deltatable(str(each))):
            try:
                files = [Path(file) for file in DeltaTable(each).file_uris()]
            except (DeltaError, OSError) as error:
                self.unread.append(Unread(source=str(each), why=str(error)))
                continue
            found[each.name] = self.table(each, files, time_column)
        return {name: table for name, table in found.items() if table is not None}

    def table(
        self, folder: Path, files: Sequence[Path], time_column: str | None, *, late: str | None = None
    ) -> LakeTable | None:
        """One table; None when it has no files.

        Args:
            folder: of the table; the days are in the names of the folders below it.
            files: finished files.
            time_column: the column whose newest value is wanted, if any.
            late: the column that marks late events, if any.
        """
        if not files:
            return None
        with ThreadPoolExecutor(_READERS) as pool:
            parts = list(pool.map(lambda file: _part(file, folder, time_column, late), files))
        good = [part for part in parts if part is not None]
        rows, lates = Counter[str](), Counter[str]()
        for part in good:
            rows[part.day] += part.rows
            lates[part.day] += part.late
        unreadable = tuple(str(file) for file, part in zip(files, parts, strict=True) if part is None)
        return LakeTable(
            rows=rows.total(),
            files=len(good),
            by_day=dict(sorted(rows.items())),
            late_by_day=dict(sorted(lates.items())) if late else {},
            newest=max((part.newest for part in good if part.newest is not None), default=None),
            written=max((part.written for part in good), default=None),
            unreadable=unreadable,
        )

    def open_sessions(self, lake: Path, declarations: Declarations) -> int | None:
        """Users whose session is live."""
        plans = [plan for plan in declarations.speed_plans if isinstance(plan, SessionPlan)]
        import duckdb

        try:
            return sum(count_open_sessions(lake, plan) for plan in plans if finished_files(lake / "speed" / plan.name))
        except duckdb.Error as error:
            self.unread.append(Unread(source="open sessions", why=str(error)))
            return None

    def published(self, mark: Path) -> Published | None:
        """How far the batch layer is."""
        if not mark.is_file():
            return None
        try:
            return parse(Published, json.loads(mark.read_text(encoding="utf-8")))
        except (InputError, OSError, ValueError) as error:
            self.unread.append(Unread(source=str(mark), why=str(error)))
            return None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One file."""

    day: str
    rows: int
    late: int
    newest: datetime | None
    written: datetime


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(each for each in folder.glob("*") if each.is_dir() and each.name[0] not in "._")


def _part(file: Path, folder: Path, time_column: str | None, late: str | None) -> _Part | None:
    """None for a file that is no Parquet."""
    try:
        footer = pq.read_metadata(file)
        return _Part(
            day=_day(file, folder),
            rows=footer.num_rows,
            late=_late(file, footer, late) if late else 0,
            newest=max((_moment(high) for _, high in _bounds(footer, time_column)), default=None),
            written=datetime.fromtimestamp(file.stat().st_mtime, UTC),
        )
    except (OSError, pa.ArrowException):
        return None


def _day(file: Path, folder: Path) -> str:
    days = (part for part in file.relative_to(folder).parts if part.startswith("dt="))
    return next(days, "").removeprefix("dt=")


def _bounds(footer: Any, column: str | None) -> Iterator[tuple[Any, Any]]:
    """Least and greatest value of a column in each row group that says so."""
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            if chunk.path_in_schema == column and chunk.statistics is not None and chunk.statistics.has_min_max:
                yield chunk.statistics.min, chunk.statistics.max


def _late(file: Path, footer: Any, column: str) -> int:
    bounds = list(_bounds(footer, column))
    if len(bounds) == footer.num_row_groups and not any(high for _, high in bounds):
        return 0
    return int(pc.sum(pq.read_table(file, columns=[column], partitioning=None)[column]).as_py() or 0)


def _moment(value: Any) -> datetime:
    """Epoch milliseconds, or a timestamp, which is UTC also where its type does not say so."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return _EPOCH + timedelta(milliseconds=int(value))
