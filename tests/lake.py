"""A lake for tests: `lake/events` as the speed job writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import lake_arrow_schema


def write_events(lake: Path, events: Iterable[Mapping[str, Any]], name: str = "part-0") -> None:
    """Write events to `lake/events/dt=…/hour=…/<name>.parquet`.

    Args:
        lake: the lake's root.
        events: rows by column; an absent column is null. `kafka_partition`, `kafka_offset` and `late` get their usual
            values when absent: 0, the event's place, False.
        name: the files' name without ending; a second call with another name adds files.
    """
    hours: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for offset, event in enumerate(events):
        row = dict.fromkeys(lake_arrow_schema().names)
        row |= {"kafka_partition": 0, "kafka_offset": offset, "late": False} | dict(event)
        moment = datetime.fromtimestamp(row["event_time_ms"] / 1000, tz=UTC)
        hours.setdefault((f"{moment:%Y-%m-%d}", f"{moment:%H}"), []).append(row)
    for (day, hour), rows in hours.items():
        folder = lake / "events" / f"dt={day}" / f"hour={hour}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=lake_arrow_schema()), folder / f"{name}.parquet")
