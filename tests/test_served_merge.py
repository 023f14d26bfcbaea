"""Windows of days as they are served and as they are trained on, from what both layers keep, against the oracle."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from playhead import oracle
from playhead.config import Settings
from playhead.days import DAY, end_ms_of
from playhead.declarations import load_declarations
from playhead.local.changelog import changelog
from playhead.merge import SPEED_DAYS
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, T_MS
from playhead.serving.online_merge import (
    DAY_MS_OF,
    EVERYBODY,
    Found,
    OnlineMerge,
)
from playhead.serving.packed import Packer, Refused
from playhead.serving.registry import apply
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from playhead.serving.training_set import features_at
from tests.archive import publish, write_rows
from tests.parity.streams import as_table, moments, random_events

DECLARED = load_declarations()
GROUPS = {plan.name: DECLARED.group(plan.name) for plan in DECLARED.daily_plans}
Event = dict[str, Any]


def weeks(seed: int) -> list[Event]:
    """A few listeners' events, spread over seven weeks."""
    rng = random.Random(seed)
    events = random_events(seed, 200)
    start_ms = events[0]["event_time_ms"]
    for event in events:
        event["event_time_ms"] = start_ms + (event["event_time_ms"] - start_ms) * 20 + rng.choice([0, 1, 999])
    return events


class Layers:
    """What both layers know of a group."""

    def __init__(self, plan: DailyPlan, events: list[Event]) -> None:
        self.plan = plan
        self.rows = changelog(plan.today, as_table(events)).to_pylist()
        self.days: dict[str, dict[int, dict[str, Any]]] = {}
        for row in self.rows:
            entity, _, day_ms = row[plan.key].rpartition("|")
            self.days.setdefault(entity, {})[int(day_ms)] = row

    def partials(self, last: date) -> list[dict[str, Any]]:
        """What is in the lake of the days up to the last."""
        return [
            {name: row[name] for name in self.names}
            | {self.plan.key: entity, "dt": f"{datetime.fromtimestamp(day_ms / 1_000, UTC):%Y-%m-%d}"}
            for entity, days in self.days.items()
            for day_ms, row in days.items()
            if day_ms < end_ms_of(last)
        ]

    def online(self, merge: OnlineMerge, entities: list[str], at_ms: int, end_ms: int) -> Found:
        """What Redis has at a moment, packed and read again."""
        held: dict[tuple[str, str], bytes] = {(merge.end.name, EVERYBODY): merge.end.pack(end_ms, {})}
        for entity, days in self.days.items():
            published = [day for day in days if end_ms - self.plan.longest * DAY_MS <= day < end_ms]
            columns = {name: [days[day][name] for day in published] for name in self.names}
            if published:
                held[merge.published.name, entity] = merge.published.pack(end_ms, {DAY_MS_OF: published} | columns)
        for row in self.rows:
            if row[T_MS] <= at_ms:
                held[merge.today.name, row[self.plan.key]] = merge.today.pack(
                    row[T_MS], {n: row[n] for n in self.names}
                )
        keys = (key for entity in entities for key in merge.rows_of(entity, at_ms - at_ms % DAY_MS))
        return {(packer, name): read(packer, held.get((packer.name, name))) for packer, name in keys}

    @property
    def names(self) -> list[str]:
        return [measure.name for measure in self.plan.measures]


def read(packer: Packer, row: bytes | None) -> Any:
    return None if row is None else packer.unpack(row)


@pytest.mark.parametrize("late_days", range(SPEED_DAYS))
@pytest.mark.parametrize("plan", DECLARED.daily_plans, ids=lambda plan: plan.name)
def test_what_is_served_is_the_naive_count_however_late_the_batch(plan: DailyPlan, late_days: int) -> None:
    events = weeks(late_days)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    known = oracle.enriched(GROUPS[plan.name], events, {})
    entities = [*layers.days, "nobody"]
    for at_ms in moments(events, late_days, 25):
        found = layers.online(merge, entities, at_ms, at_ms - at_ms % DAY_MS - late_days * DAY_MS)
        for entity, row in zip(entities, merge.merged(entities, at_ms, found), strict=True):
            assert row.values == oracle.values_at(GROUPS[plan.name], known, entity, at_ms)
            assert row.status in ("present", "missing")
            assert (row.status == "present") == (row.event_timestamp_ms is not None)
            assert row.event_timestamp_ms is None or row.event_timestamp_ms <= at_ms


def test_rows_of_a_batch_that_is_publishing_and_of_one_before_it_count_alike() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(7)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"]
    day_ms, entities = at_ms - at_ms % DAY_MS, list(layers.days)
    new, old = (layers.online(merge, entities, at_ms, day_ms - late * DAY_MS) for late in (0, 1))
    publishing = new | {(merge.end, EVERYBODY): old[merge.end, EVERYBODY]}
    assert merge.merged(entities, at_ms, publishing) == merge.merged(entities, at_ms, new)
    # Who was not heard of since has a row of an older batch.
    quiet = [entity for entity in entities if not any(day >= day_ms - DAY_MS for day in layers.days[entity])]
    before = new | {(merge.published, entity): old[merge.published, entity] for entity in quiet}
    assert merge.merged(entities, at_ms, before) == merge.merged(entities, at_ms, new)


def test_a_batch_too_far_behind_and_rows_of_another_meaning_are_told_apart() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(8)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"]
    entities = list(layers.days)
    stale = layers.online(merge, entities, at_ms, at_ms - at_ms % DAY_MS - SPEED_DAYS * DAY_MS)
    for row in merge.merged(entities, at_ms, stale):
        assert (row.status, set(row.values.values())) == ("stale", {None})
    refused = dict(stale) | {(merge.end, EVERYBODY): Refused("fingerprint")}
    assert {(row.status, len(row.values)) for row in merge.merged(entities, at_ms, refused)} == {("refused", 0)}


@pytest.mark.parametrize("behind", [-5, 0, 1, 2, 20])
def test_what_is_trained_on_is_the_naive_count_or_null(settings: Settings, behind: int) -> None:
    events = weeks(behind + 10)
    newest = datetime.fromtimestamp(events[-1]["event_time_ms"] / 1_000, UTC).date()
    last = newest - behind * DAY
    partials = {}
    for plan in DECLARED.daily_plans:
        layers = Layers(plan, events)
        write_rows(settings.lake, plan.today, layers.rows)
        partials[plan.name] = layers.partials(newest)
    publish(settings.lake, last, partials)
    apply(settings, DECLARED)
    times = moments(events, behind + 10, 120)
    rng = random.Random(behind)
    spine = pa.table(
        {key: [rng.choice([None, "nobody", *(f"{key[0]}{n}" for n in range(3))]) for _ in times] for key in KEYS}
        | {EVENT_TIMESTAMP: pa.array([time_ms * 1_000 for time_ms in times], MOMENT)}
    )
    found = features_at(settings, DECLARED, "listener_v1", spine).to_pylist()
    refused = 0
    for row, time_ms, keys in zip(found, times, spine.to_pylist(), strict=True):
        known = end_ms_of(last) >= time_ms - time_ms % DAY_MS - (SPEED_DAYS - 1) * DAY_MS
        for name in ("listener_daily", "track_daily"):
            group = GROUPS[name]
            got = {feature: row[f"{name}__{feature}"] for feature in group.feature_names}
            if keys[group.entity.key] is None or not known:
                assert not any(value is not None for value in got.values())
                refused += not known
            else:
                expected = oracle.enriched(group, events, {})
                assert got == oracle.values_at(group, expected, keys[group.entity.key], time_ms)
    assert bool(refused) == (behind == 20)


KEYS = ("user_id", "track_id", "artist_id")
