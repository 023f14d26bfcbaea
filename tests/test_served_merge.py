"""Windows of days as they are served and as they are trained on, from what both layers keep, against the oracle."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from playhead import oracle
from playhead.columns import Column
from playhead.config import Settings
from playhead.days import DAY, end_ms_of
from playhead.declarations import load_declarations
from playhead.local.changelog import changelog
from playhead.merge import SPEED_DAYS, Partials, published
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, T_MS
from playhead.serving.online import key_of
from playhead.serving.online_merge import EVERYBODY, OnlineMerge
from playhead.serving.packed import Packer
from playhead.serving.reading import Status
from playhead.serving.registry import apply
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from playhead.serving.training_set import features_at
from tests.archive import publish, write_rows
from tests.memory import MemoryRedis, values_of
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

    def online(self, merge: OnlineMerge, at_ms: int, end_ms: int) -> MemoryRedis:
        """What Redis has at a moment."""
        redis = MemoryRedis()
        redis.put(merge.end, EVERYBODY, end_ms, {})
        for entity, days in self.days.items():
            inside = [day for day in days if end_ms - self.plan.longest * DAY_MS <= day < end_ms]
            if inside:
                values = {
                    m.name: Column.of_list([days[day][m.name] for day in inside], m.kind.to_pyarrow())
                    for m in self.plan.measures
                }
                partials = Partials(np.zeros(len(inside), np.int64), np.array(inside), values)
                made = published(self.plan, partials, end_ms, 1)
                redis.put(merge.published, entity, end_ms, {name: own.to_list()[0] for name, own in made.items()})
        for row in self.rows:
            if row[T_MS] <= at_ms:
                redis.put(merge.today, row[self.plan.key], row[T_MS], {n: row[n] for n in self.names})
        return redis

    @property
    def names(self) -> list[str]:
        return [measure.name for measure in self.plan.measures]


@pytest.mark.parametrize("late_days", range(-1, SPEED_DAYS))
@pytest.mark.parametrize("plan", DECLARED.daily_plans, ids=lambda plan: plan.name)
def test_what_is_served_is_the_naive_count_however_late_the_batch(plan: DailyPlan, late_days: int) -> None:
    events = weeks(late_days + 1)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    known = oracle.enriched(GROUPS[plan.name], events, {})
    entities = [*layers.days, "nobody"]
    for at_ms in moments(events, late_days, 25):
        redis = layers.online(merge, at_ms, at_ms - at_ms % DAY_MS - late_days * DAY_MS)
        found = redis.read(merge, entities, at_ms)
        assert values_of(found) == [oracle.values_at(GROUPS[plan.name], known, entity, at_ms) for entity in entities]
        assert set(found.status.tolist()) <= {Status.PRESENT, Status.MISSING}
        assert ((found.status == Status.PRESENT) == found.stamps.valid).all()
        assert all(stamp is None or stamp <= at_ms for stamp in found.stamps.to_list())


def test_rows_of_a_batch_that_is_publishing_and_of_one_before_it_count_alike() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(7)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"]
    day_ms, entities = at_ms - at_ms % DAY_MS, list(layers.days)
    new, old = (layers.online(merge, at_ms, day_ms - late * DAY_MS) for late in (0, 1))
    expected = values_of(new.read(merge, entities, at_ms))
    end = key_of(merge.end.name, EVERYBODY)
    publishing = MemoryRedis(new.rows | {end: old.rows[end]})
    assert values_of(publishing.read(merge, entities, at_ms)) == expected


def test_somebody_whose_last_row_is_of_an_older_batch_has_had_nothing_since() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(7)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"] + plan.longest * DAY_MS
    day_ms, entities = at_ms - at_ms % DAY_MS, list(layers.days)
    then = layers.online(merge, at_ms, day_ms - plan.longest * DAY_MS)
    assert len(then.rows) > 1 + len(entities)
    redis = MemoryRedis(then.rows | layers.online(merge, at_ms, day_ms).rows)
    found = redis.read(merge, entities, at_ms)
    assert values_of(found) == [oracle.values_at(GROUPS[plan.name], [], entity, at_ms) for entity in entities]


def test_the_speed_layers_days_are_read_from_the_end_on_and_all_when_the_store_was_emptied() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(7)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"]
    entities = list(layers.days)
    redis = layers.online(merge, at_ms, at_ms - at_ms % DAY_MS)
    expected = values_of(redis.read(merge, entities, at_ms))
    assert redis.round_trips == 2, "the end of the last published day is seen before the rows are read"
    assert values_of(redis.read(merge, entities, at_ms)) == expected
    assert redis.round_trips == 3
    assert len(merge.ask(entities, at_ms - at_ms % DAY_MS).keys) == 1 + 2 * len(entities)
    late = layers.online(merge, at_ms, at_ms - at_ms % DAY_MS - 2 * DAY_MS)
    assert values_of(late.read(merge, entities, at_ms)) == expected
    assert late.round_trips == 2
    late.rows.pop(key_of(merge.end.name, EVERYBODY))
    for entity in entities:
        late.rows.pop(key_of(merge.published.name, entity), None)
    assert set(late.read(merge, entities, at_ms).status.tolist()) == {Status.STALE}


def test_a_batch_too_far_behind_and_rows_of_another_meaning_are_told_apart() -> None:
    plan = DECLARED.daily_plans[0]
    events = weeks(8)
    layers, merge = Layers(plan, events), OnlineMerge(plan)
    at_ms = events[-1]["event_time_ms"]
    entities = list(layers.days)
    redis = layers.online(merge, at_ms, at_ms - at_ms % DAY_MS - SPEED_DAYS * DAY_MS)
    stale = redis.read(merge, entities, at_ms)
    assert set(stale.status.tolist()) == {Status.STALE}
    assert all(set(row.values()) == {None} for row in values_of(stale))
    redis.put(Packer(merge.end.name, [], "0" * 16), EVERYBODY, at_ms, {})
    known = merge.end_ms
    refused = redis.read(merge, entities, at_ms)
    assert merge.end_ms == known, "what cannot be read tells nothing"
    assert set(refused.status.tolist()) == {Status.REFUSED}
    assert all(set(row.values()) == {None} for row in values_of(refused))


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
