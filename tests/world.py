"""A made-up week, and what the layers made of it.

The layers are what they are in life: the archive is the changelog without late events, the batch layer has them, the
online store is as it was at the moment, packed and merged by the server's own code.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from playhead.checks.skew import Skew, check_skew
from playhead.columns import Column
from playhead.config import Settings
from playhead.days import DAY, PartialTable, begin_ms_of, dated_events, end_ms_of
from playhead.declarations import Declarations, load_declarations
from playhead.dimensions import rows_of
from playhead.local.changelog import changelog, run
from playhead.merge import Partials, published
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, T_MS
from playhead.serving.feast_offline import Cut
from playhead.serving.online import OnlineStore
from playhead.serving.online_merge import EVERYBODY, OnlineMerge
from playhead.serving.packed import Packer
from playhead.serving.registry import apply
from playhead.serving.served_log import messages
from playhead.serving.served_table import ServedTable, served_schema
from playhead.serving.vectors import Vectors, VectorService
from tests.archive import backfilled, publish, write_rows
from tests.lake import write_events
from tests.memory import MemoryRedis
from tests.parity.streams import START_MS, as_table

DECLARED = load_declarations()
SERVICE = DECLARED.service("listener_v1")
FIRST = datetime.fromtimestamp(START_MS / 1_000, UTC).date() + DAY
DAYS = 5
TODAY = FIRST + (DAYS - 1) * DAY
SERVED = 100
Event = dict[str, Any]
Rows = dict[str, list[dict[str, Any]]]


def listening(seed: int = 1) -> list[Event]:
    """Five days of a few listeners who play, skip and finish tracks of a few artists."""
    rng, events, now_ms = random.Random(seed), [], begin_ms_of(FIRST)
    while now_ms < end_ms_of(TODAY):
        now_ms += rng.randrange(1_000, 400_000)
        kind = rng.choice(["PLAY", "PLAY", "SKIP", "COMPLETE", "PAUSE", "LIKE"])
        track = rng.randrange(12)
        events.append(
            as_row(
                event_id=f"e{len(events)}",
                user_id=f"u{rng.randrange(8)}",
                track_id=f"t{track}",
                artist_id=f"a{track % 5}",
                event_type=kind,
                event_time_ms=now_ms,
                ms_played=rng.randrange(200_000) if kind in ("SKIP", "COMPLETE") else None,
                kafka_offset=len(events),
            )
        )
    return events


def as_row(**values: Any) -> Event:
    return {"content_type": "SONG", "kafka_partition": 0, "late": False} | values


@dataclass
class World:
    """What the layers made of events, and a server whose store is as it was at any moment."""

    settings: Settings
    events: list[Event]
    online: Rows
    declarations: Declarations = DECLARED
    batch_behind: int = 0
    corrupt: Callable[[Vectors], None] = lambda vectors: None
    fallback: str | None = None

    def serve(self, delay_ms: int = 0, seed: int = 5) -> None:
        """Serve vectors on the last day, and log them and no others; the store gets each row so much after its time."""
        rng, rows = random.Random(seed), list[dict[str, Any]]()
        path = self.settings.lake / "served" / "listener_v1"
        shutil.rmtree(path, ignore_errors=True)
        table = ServedTable(path, served_schema(SERVICE, DECLARED), "served")
        table.create()
        service = VectorService(self.declarations.service("listener_v1"), self.declarations)
        today = [event for event in self.events if event["event_time_ms"] >= begin_ms_of(TODAY)]
        last_ms = end_ms_of(TODAY) - 1
        asked = [(e, min(e["event_time_ms"] + rng.randrange(40_000), last_ms)) for e in rng.choices(today, k=SERVED)]
        redis = MemoryRedis()
        for plan in self.declarations.daily_plans:
            self.put_published(redis, plan, begin_ms_of(TODAY) - self.batch_behind * DAY_MS)
        arriving = self.arriving()
        for number, (event, moment) in enumerate(sorted(asked, key=lambda each: each[1])):
            while arriving and arriving[-1][0] <= moment - delay_ms:
                at_ms, packer, entity, values = arriving.pop()
                redis.put(packer, entity, at_ms, values)
            candidate = {key: event[key] for key in ("track_id", "artist_id")}
            user, store = {"user_id": event["user_id"]}, OnlineStore(redis, "memory")
            vectors = service.vectors(store, user, [candidate], lambda at=moment: at / 1_000)
            self.corrupt(vectors)
            for message in messages(f"r{number}", "listener_v1", vectors, self.fallback):
                rows += table.rows(message, 0, number)
        table.append(rows, {0: SERVED})

    def arriving(self) -> list[tuple[int, Packer, str, dict[str, Any]]]:
        """The speed layer's rows, the last first."""
        found = []
        for plan in self.declarations.speed_plans:
            packer, names = Packer.of(plan), [name for name, _ in plan.schema]
            rows = self.online[plan.name]
            found += [(row[T_MS], packer, row[plan.key], {name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda row: -row[0])

    def put_published(self, redis: MemoryRedis, plan: DailyPlan, end_ms: int) -> None:
        merge = OnlineMerge(plan)
        redis.put(merge.end, EVERYBODY, end_ms, {})
        partials = [row for row in partials_of(plan, self.events) if row_ms(row) < end_ms]
        for entity in {row[plan.key] for row in partials}:
            own = [row for row in partials if row[plan.key] == entity]
            values = {m.name: Column.of_list([r[m.name] for r in own], m.kind.to_pyarrow()) for m in plan.measures}
            items = Partials(np.zeros(len(own), np.int64), np.array([row_ms(row) for row in own]), values)
            made = published(plan, items, end_ms, 1)
            redis.put(merge.published, entity, end_ms, {name: column.to_list()[0] for name, column in made.items()})

    def check(self, cut: Cut = "as-served") -> Skew:
        return check_skew(self.settings, DECLARED, ["listener_v1"], cut=cut)

    def backfill(self) -> None:
        """Make every day again, with its late events."""
        days = [str(FIRST + n * DAY) for n in range(DAYS + 2)]
        for plan in DECLARED.speed_plans:
            backfilled(self.settings.lake, plan, changelog(plan, as_table(self.events)).to_pylist(), *days)


def row_ms(row: dict[str, Any]) -> int:
    return begin_ms_of(date.fromisoformat(row["dt"]))


PARTIALS: dict[tuple[str, int], list[dict[str, Any]]] = {}


def partials_of(plan: DailyPlan, events: Sequence[Event]) -> list[dict[str, Any]]:
    """What the batch layer makes of each day."""
    key = (plan.name, id(events))
    if key not in PARTIALS:
        dated = as_table([*events])
        days = [f"{datetime.fromtimestamp(e['event_time_ms'] / 1_000, UTC):%Y-%m-%d}" for e in events]
        source = dated.append_column("dt", pa.array(days))
        table = PartialTable.of(plan)
        PARTIALS[key] = run(table.rows(dated_events()), events=source, **rows_of(plan.dimensions, {})).to_pylist()
    return PARTIALS[key]


def changes(declarations: Declarations, events: Sequence[Event]) -> Rows:
    """The speed layer's changelog, which late events are not in."""
    known = as_table([event for event in events if not event["late"]])
    return {plan.name: changelog(plan, known).to_pylist() for plan in declarations.speed_plans}


def world_of(settings: Settings, events: list[Event]) -> World:
    """The lake of events, published up to yesterday."""
    write_events(settings.lake, events)
    rows = changes(DECLARED, events)
    for plan in DECLARED.speed_plans:
        write_rows(settings.lake, plan, rows[plan.name])
    partials = {plan.name: partials_of(plan, events) for plan in DECLARED.daily_plans}
    yesterday = TODAY - DAY
    for day in (FIRST + n * DAY for n in range(DAYS - 1)):
        publish(settings.lake, day, {name: [r for r in own if r["dt"] == str(day)] for name, own in partials.items()})
    assert yesterday == FIRST + (DAYS - 2) * DAY
    apply(settings, DECLARED)
    return World(settings, events, rows)
