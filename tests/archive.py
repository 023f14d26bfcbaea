"""A lake for tests: rows of feature groups as the speed layer archives them and as the batch layer publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from playhead.plan import DailyPlan, Plan

STAMP = pa.timestamp("ms", tz="UTC")


def at(milliseconds: int) -> datetime:
    """Epoch milliseconds as aware UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def write_rows(
    lake: Path, plan: Plan, rows: Iterable[Mapping[str, Any]], *, name: str = "part-0", created: int = 0
) -> None:
    """Write rows of a group where the plan's layer writes them; a second call adds rows.

    Args:
        lake: the lake's root.
        plan: the group's plan.
        rows: its key, `event_timestamp_ms` and features by name; an absent feature is null.
        name: of the files, which Flink gives no ending.
        created: when the rows were written, epoch milliseconds.
    """
    features = {feature: ibis.dtype(kind).to_pyarrow() for feature, kind in plan.schema}
    schema = pa.schema(
        {plan.key: pa.string(), "event_timestamp": STAMP, **features, "created_at": STAMP, "dt": pa.string()}
    )
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        moment = at(row["event_timestamp_ms"])
        full = dict.fromkeys(schema.names) | {k: v for k, v in row.items() if k in schema.names}
        full |= {"event_timestamp": moment, "created_at": at(created), "dt": f"{moment:%Y-%m-%d}"}
        days.setdefault(full["dt"], []).append(full)
    for day, of_day in days.items():
        table = pa.Table.from_pylist(of_day, schema=schema)
        if isinstance(plan, DailyPlan):
            write_deltalake(lake / "views" / plan.name, table, mode="append", partition_by=["dt"])
        else:
            folder = lake / "speed" / plan.name / f"dt={day}"
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.drop_columns("dt"), folder / name)
