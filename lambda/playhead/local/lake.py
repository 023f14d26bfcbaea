"""Questions to the lake that one machine answers: counts, open sessions, random points. On DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from playhead.lake_files import finished_files
from playhead.plan import SessionPlan, SlidingPlan, SpeedPlan
from playhead.relations import BY_DAY


@dataclass(frozen=True)
class EventCount:
    """Rows of the master data, how many of them came late, and the time of the first and the last, UTC epoch ms."""

    rows: int
    late: int
    first_ms: int | None
    last_ms: int | None


def count_events(lake: Path) -> EventCount:
    """Count the master data; zeros and None when there is none yet."""
    with _table(lake / "events") as events:
        if events is None:
            return EventCount(0, 0, None, None)
        asked = "count(*), count(*) FILTER (late), min(event_time_ms), max(event_time_ms)"
        return EventCount(*events.aggregate(asked).fetchall()[0])


def known_events(lake: Path, event_ids: Iterable[str]) -> set[str]:
    """Those of some events that the master data has, whatever their time there. Reads the ids of all of it."""
    wanted = pa.table({"event_id": pa.array(event_ids, pa.string())})
    files = [str(file) for file in finished_files(lake / "events")]
    if not files or not wanted.num_rows:
        return set()
    with duckdb.connect() as connection:
        events = connection.read_parquet(files, hive_partitioning=False)
        found = connection.from_arrow(wanted).join(events.project("event_id"), "event_id", how="semi")
        return {event_id for (event_id,) in found.fetchall()}


def count_rows(folder: Path) -> int:
    """Rows of a folder of Parquet files; 0 when there is none."""
    with _table(folder) as rows:
        return 0 if rows is None else int(rows.aggregate("count(*)").fetchall()[0][0])


def count_open_sessions(lake: Path, plan: SessionPlan) -> int:
    """Keys whose newest row says that a session is live."""
    with _table(lake / "speed" / plan.name) as rows:
        if rows is None:
            return 0
        newest = rows.aggregate(f"{_name(plan.key)}, arg_max({_name(plan.start)} IS NOT NULL, event_timestamp) AS live")
        return int(newest.filter("live").aggregate("count(*)").fetchall()[0][0])


def count_entities(lake: Path, plan: SpeedPlan) -> int:
    """Distinct keys of a group's archive."""
    with _table(lake / "speed" / plan.name) as rows:
        return 0 if rows is None else int(rows.aggregate(f"count(DISTINCT {_name(plan.key)})").fetchall()[0][0])


def sample_points(lake: Path, size: int, seed: int) -> pa.Table:
    """Random moments of random listeners, with a track of one of their plays: a spine for training sets.

    Returns:
        `size` rows (fewer only without plays): user_id, track_id, artist_id, event_timestamp (UTC, milliseconds).
        Moments lie between the first event and the last.
    """
    with _table(lake / "events") as events:
        if events is None:
            return pa.table({"user_id": [], "track_id": [], "artist_id": [], "event_timestamp": []})
        plays = events.filter("event_type = 'PLAY' AND artist_id IS NOT NULL")
        bounds = events.aggregate("min(event_time_ms) AS low, max(event_time_ms) AS high")
        numbered = plays.project("*, row_number() OVER (ORDER BY event_time_ms, event_id) AS n")
        drawn = numbered.order(f"hash(n + {int(seed)} * 1000003)").limit(size)
        moment = f"epoch_ms(low + CAST(hash(n * 31 + {int(seed)}) % (high - low + 1) AS BIGINT))"
        rows = (
            drawn.set_alias("drawn")
            .join(bounds.set_alias("bounds"), "true")
            .project(f"user_id, track_id, artist_id, {moment} AS event_timestamp")
        )
        return rows.to_arrow_table()


def sample_moments(lake: Path, plan: SpeedPlan, size: int, seed: int, end_ms: int) -> pa.Table:
    """Random moments close after rows of a group's archive, where its values are about to change.

    Returns:
        `size` rows (fewer only in a small archive): the key and `event_timestamp` (UTC, milliseconds, up to `end_ms`).
        Keys with late events are left out.
    """
    key = _name(plan.key)
    with _table(lake / "speed" / plan.name) as rows, _table(lake / "events") as events:
        if rows is None or events is None:
            return pa.table({plan.key: pa.array([], pa.string()), "event_timestamp": pa.array([], pa.timestamp("ms"))})
        late = {k for (k,) in events.filter("late").project(key).distinct().fetchall()}
        # hash() of the row and the seed: DuckDB's random() differs from thread to thread.
        drawn = rows.project(
            f"{key}, epoch_ms(event_timestamp) AS stamp_ms, hash({key}, event_timestamp, {int(seed)}) AS h"
        )
        moment = f"epoch_ms(least(stamp_ms + CAST(h % 7200000 AS BIGINT) - 2000, {int(end_ms)}))"
        found = drawn.order("h").project(f"{key}, {moment} AS event_timestamp")
        kept = [row for row in found.limit(size + 100 * len(late)).fetchall() if _entity(plan, row[0]) not in late]
        return pa.table(
            {
                plan.key: [key for key, _ in kept[:size]],
                "event_timestamp": pa.array([at for _, at in kept[:size]], pa.timestamp("ms")),
            }
        )


def _entity(plan: SpeedPlan, key: str) -> str:
    by_day = isinstance(plan, SlidingPlan) and plan.by_day
    return key.rpartition(BY_DAY)[0] if by_day else key


@contextmanager
def _table(folder: Path) -> Iterator[duckdb.DuckDBPyRelation | None]:
    """The rows of a folder's finished files; what starts with . or _ is being written."""
    files = [str(file) for file in finished_files(folder)]
    with duckdb.connect() as connection:
        yield connection.read_parquet(files, hive_partitioning=False) if files else None


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
