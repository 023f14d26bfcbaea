"""A time to live is decided once: a row that has outlived it is null online, in training sets and when tried out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from playhead.config import Settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import Count, FeatureGroup, FeatureService, days
from playhead.errors import DeclarationError, InputError, UnsupportedError
from playhead.evaluate import evaluate
from playhead.local.changelog import changelog
from playhead.plan import SlidingPlan, speed_plan
from playhead.relations import T_MS
from playhead.serving.online import KEPT_EMPTY, Keep, OnlineStore
from playhead.serving.packed import Packer
from playhead.serving.reading import Status
from playhead.serving.registry import apply
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from playhead.serving.training_set import features_at
from playhead.serving.vectors import VectorService
from tests.archive import write_rows
from tests.memory import MemoryRedis
from tests.parity.streams import as_table, random_events

TTL = timedelta(hours=30)
TTL_MS = 30 * 3_600_000
KEPT = replace(load_declarations().group("track"), ttl=TTL)
SERVICE = FeatureService(name="probe_v1", groups=(KEPT,))
DECLARED = Declarations((KEPT,), (SERVICE,))


def test_a_row_holds_up_to_its_time_to_live_and_no_longer_whoever_reads_it(settings: Settings) -> None:
    plan = DECLARED.plan("track")
    assert isinstance(plan, SlidingPlan)
    events = as_table(random_events(4, 80))
    rows = changelog(speed_plan(plan), events).to_pylist()
    write_rows(settings.lake, plan, rows)
    apply(settings, DECLARED)
    last = {row["track_id"]: row for row in rows}
    asked = [(track, row[T_MS] + TTL_MS + shift) for track, row in last.items() for shift in (-1, 0, 1)]
    asked += [("nobody", rows[-1][T_MS]), ("t0", rows[0][T_MS] - 60_000)]
    spine = pa.table(
        {
            "track_id": [track for track, _ in asked],
            EVENT_TIMESTAMP: pa.array([at_ms * 1_000 for _, at_ms in asked], MOMENT),
        }
    )
    offline = features_at(settings, DECLARED, "probe_v1", spine)
    assert evaluate(SERVICE, events, spine).equals(offline)
    service = VectorService(SERVICE, DECLARED)
    for place, (track, at_ms) in enumerate(asked):
        redis = MemoryRedis()
        for row in rows:
            if row[T_MS] <= at_ms:
                redis.put(Packer.of(plan), row["track_id"], row[T_MS], {name: row[name] for name, _ in plan.schema})
        fetched = service.fetch(OnlineStore(redis, "memory"), {"track_id": track}, lambda at=at_ms: at / 1_000)
        assert fetched.to_arrow().to_pylist() == offline.slice(place, 1).to_pylist(), (track, at_ms)
        (status,) = fetched.statuses["track__plays_1d"].tolist()
        expected = Status.PRESENT if track in last else Status.MISSING
        if track in last and at_ms > last[track][T_MS] + TTL_MS:
            expected = Status.STALE
        assert status == (Status.MISSING if at_ms < rows[0][T_MS] else expected)
    nulls = [value is None for value in offline["track__plays_1d"].to_pylist()]
    assert nulls == [shift for _ in last for shift in (False, False, True)] + [True, True]


def test_another_time_to_live_has_to_be_applied(settings: Settings) -> None:
    apply(settings, DECLARED)
    longer = replace(KEPT, ttl=2 * TTL)
    changed = Declarations((longer,), (FeatureService(name="probe_v1", groups=(longer,)),))
    spine = pa.table({"track_id": ["t"], EVENT_TIMESTAMP: pa.array([0], MOMENT)})
    with pytest.raises(InputError, match="'track' was applied before its declaration changed"):
        features_at(settings, changed, "probe_v1", spine)


def test_what_cannot_be_is_told() -> None:
    plays = Count("plays", over=days(7), where=KEPT.features[0].where)  # type: ignore[union-attr]
    with pytest.raises(DeclarationError, match="windows of days are made anew"):
        FeatureGroup(name="daily", entity=KEPT.entity, features=(plays,), ttl=TTL)
    with pytest.raises(DeclarationError, match="expected whole seconds, at least one"):
        replace(KEPT, ttl=timedelta(milliseconds=1))
    with pytest.raises(UnsupportedError, match="has a ttl"):
        spine = pa.table({"track_id": ["t"], EVENT_TIMESTAMP: pa.array([0], MOMENT)})
        evaluate(SERVICE, as_table([]), spine, "oracle")


def test_a_row_that_says_what_no_row_says_is_soon_forgotten() -> None:
    plan = load_declarations().plan("track")
    packer = Packer.of(plan)
    keep = Keep(None, packer.values_of(plan.empty))
    assert keep.seconds(packer.pack(5_000, plan.empty)) == KEPT_EMPTY.total_seconds()
    assert keep.seconds(packer.pack(5_000, plan.empty | {"plays_1d": 1})) == 0
    assert Keep(TTL).seconds(b"") == TTL.total_seconds()
