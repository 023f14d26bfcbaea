"""A lake for tests: rows of feature groups as the speed layer archives them, and what the batch layer publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from playhead.batch.digests import keep
from playhead.declarations import load_declarations
from playhead.plan import DailyPlan, Plan, SpeedPlan
from playhead.published import with_days, write_mark

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


def publish(lake: Path, last: date, partials: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Publish partials as the batch layer does, up to the end of a day; a second call adds rows.

    Args:
        lake: the lake's root.
        last: the last day.
        partials: daily group to its rows: `dt`, its key and measures by name; an absent measure is 0, a text null.
    """
    plans = load_declarations().daily_plans
    for plan in (plan for plan in plans if plan.name in partials):
        kinds = {measure.name: measure.kind.to_pyarrow() for measure in plan.measures}
        schema = pa.schema(dict.fromkeys(("dt", plan.key), pa.string()) | kinds)
        nothing = {name: 0 if pa.types.is_integer(kind) else None for name, kind in kinds.items()}
        rows = [nothing | dict(row) for row in partials[plan.name]]
        table = pa.Table.from_pylist(rows, schema=schema)
        write_deltalake(lake / "daily" / plan.name, table, mode="append", partition_by=["dt"])
    (lake / "views").mkdir(exist_ok=True)
    write_mark(lake, with_days(lake, [last], plans, at(0)))


def backfilled(lake: Path, plan: SpeedPlan, rows: list[dict[str, Any]], *days: str, fingerprint: str = "") -> None:
    """Rows as `playhead backfill` writes them, and its account of the days."""
    features = {feature: ibis.dtype(kind).to_pyarrow() for feature, kind in plan.schema}
    texts = {plan.key: pa.string(), "event_timestamp": STAMP}
    schema = pa.schema(texts | features | {"created_at": STAMP, "dt": pa.string()})
    full = [
        dict.fromkeys(schema.names)
        | {name: value for name, value in each.items() if name in schema.names}
        | {"event_timestamp": (moment := at(each["event_timestamp_ms"])), "dt": f"{moment:%Y-%m-%d}"}
        for each in rows
    ]
    table = pa.Table.from_pylist(full, schema=schema)
    write_deltalake(lake / "backfill" / plan.name, table, mode="overwrite", partition_by=["dt"])
    made = dict.fromkeys(map(date.fromisoformat, days), f"{fingerprint or plan.fingerprint} files")
    keep(lake / "backfill", {plan.name: made})
