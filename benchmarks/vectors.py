"""What the suite `serving` asks for: rows of listeners, tracks and artists in the online store, and requests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from playhead.columns import Column
from playhead.declarations import Declarations
from playhead.declare import FeatureService
from playhead.merge import Partials, published
from playhead.nodes import Measure
from playhead.plan import DailyPlan, Plan
from playhead.relations import DAY_MS, day_key
from playhead.serving.online import OnlineStore, key_of
from playhead.serving.online_merge import EVERYBODY, OnlineMerge
from playhead.serving.packed import Packer

SERVICE = "listener_v1"
NUMBERS = "numbers_v1"
"""The service of `with_numbers`."""

CANDIDATES = 100
_DAYS = 30
_TODAYS = 2
"""Days of which the speed layer has a row: today and yesterday."""

_HEARD = 40
"""Artists of a listener in `_DAYS`; eight of them in a day."""

_GENRES = ("pop", "rock", "hip-hop", "electronic", "jazz", "classical", "folk", "metal")


def with_numbers(declarations: Declarations) -> Declarations:
    """With a service of all numbers of `SERVICE` that are of a listener or a track, and that a store holds: 50."""
    own = declarations.service(SERVICE)
    plans = [declarations.plan(group.name) for group in own.groups if group.entity.key != "artist_id"]
    features = [f"{plan.name}.{name}" for plan in plans for name, kind in plan.schema if kind.is_numeric()]
    groups = tuple(declarations.group(plan.name) for plan in plans)
    service = FeatureService(name=NUMBERS, groups=groups, features=tuple(features))
    return replace(declarations, services=(*declarations.services, service))


@dataclass(frozen=True)
class World:
    """Who and what there is; a track has one artist."""

    users: Sequence[str]
    tracks: Sequence[str]
    artists: Sequence[str]

    @classmethod
    def of(cls, tracks: int) -> World:
        """With so many tracks, and a fifth as many listeners and artists."""
        few = max(1, tracks // 5)
        return cls(
            [f"user-{n:06}" for n in range(few)],
            [f"track-{n:06}" for n in range(tracks)],
            [f"artist-{n:06}" for n in range(few)],
        )

    def entities(self, key: str) -> Sequence[str]:
        """Those of an entity key."""
        return {"user_id": self.users, "track_id": self.tracks, "artist_id": self.artists}[key]

    def artist_of(self, track: str) -> str:
        """A track's artist."""
        return self.artists[int(track.rpartition("-")[2]) % len(self.artists)]

    def requests(self, number: int, seed: int) -> list[dict[str, Any]]:
        """A listener and `CANDIDATES` tracks with their artists, always the same ones of a seed."""
        rng = random.Random(seed)
        asked = []
        for _ in range(number):
            tracks = rng.sample(self.tracks, min(CANDIDATES, len(self.tracks)))
            artists = [self.artist_of(track) for track in tracks]
            asked.append({"user_id": rng.choice(self.users), "track_id": tracks, "artist_id": artists})
        return asked


def fill(store: OnlineStore, declarations: Declarations, world: World, at_ms: int) -> None:
    """Write a row of everybody for every group of the service, as the writers do: E is last midnight."""
    for group in declarations.service(SERVICE).inputs:
        plan = declarations.plan(group.name)
        entities = world.entities(plan.key)
        if isinstance(plan, DailyPlan):
            store.write_many(daily_rows(plan, world, entities, at_ms))
        else:
            packer = Packer.of(plan)
            rows = plain_values(plan, world, entities)
            store.write(plan.name, ((entity, packer.pack(at_ms, values)) for entity, values in rows))


def keys_of(plan: Plan, entity: str, at_ms: int) -> list[bytes]:
    """All keys under which the store has rows of an entity."""
    if not isinstance(plan, DailyPlan):
        return [key_of(plan.name, entity)]
    merge, today = OnlineMerge(plan), at_ms - at_ms % DAY_MS
    days = [key_of(merge.today.name, day_key(entity, today - age * DAY_MS)) for age in range(_TODAYS)]
    return [key_of(merge.published.name, entity), *days]


def plain_values(plan: Plan, world: World, entities: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entities and values of a group that is not of calendar windows."""
    rng = random.Random(plan.name)
    for entity in entities:
        yield entity, {name: _value(rng, str(kind), name, world) for name, kind in plan.schema}


def daily_rows(plan: DailyPlan, world: World, entities: Sequence[str], at_ms: int) -> Iterator[tuple[str, str, bytes]]:
    """Rows (group, entity, row) of what both layers know of calendar windows."""
    merge, rng, today = OnlineMerge(plan), random.Random(plan.name), at_ms - at_ms % DAY_MS
    days = np.tile(today - np.arange(1, _DAYS + 1) * DAY_MS, len(entities))
    rows = np.repeat(np.arange(len(entities)), _DAYS)
    pools = [rng.sample(world.artists, min(_HEARD, len(world.artists))) for _ in entities]
    values = {
        m.name: Column.of_list([_partial(rng, m, pools[row]) for row in rows.tolist()], m.kind.to_pyarrow())
        for m in plan.measures
    }
    made = published(plan, Partials(rows, days, values), today, len(entities))
    lists = [column.to_list() for column in made.values()]
    for entity, pool, row in zip(entities, pools, zip(*lists, strict=True), strict=True):
        yield merge.published.name, entity, merge.published.pack(today, dict(zip(made, row, strict=True)))
        for age in range(_TODAYS):
            day_ms = today - age * DAY_MS
            known = {measure.name: _partial(rng, measure, pool) for measure in plan.measures}
            yield merge.today.name, day_key(entity, day_ms), merge.today.pack(day_ms + 1_000, known)
    yield merge.end.name, EVERYBODY, merge.end.pack(today, {})


def _value(rng: random.Random, kind: str, name: str, world: World) -> Any:
    if kind == "int64":
        return rng.randrange(1_000)
    if kind == "float64":
        return rng.random()
    if kind == "string":
        return rng.choice(world.artists) if name == "artist_id" else rng.choice(_GENRES)
    return rng.sample(world.tracks, min(20, len(world.tracks)))[: 5 if "5" in name else None]


def _partial(rng: random.Random, measure: Measure, artists: Sequence[str]) -> int | str:
    if measure.how != "counts":
        return rng.randrange(100)
    values = _GENRES if "genre" in measure.name else rng.sample(artists, min(8, len(artists)))
    counts = {value.encode().hex().upper(): rng.randrange(1, 10) for value in values}
    return orjson.dumps(dict(sorted(counts.items()))).decode()
