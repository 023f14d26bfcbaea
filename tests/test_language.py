"""What adding to the language touches: a feature its declaration alone, an aggregate one row of the parity groups."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ibis import _

from playhead.compile import compile_group
from playhead.config import Settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import (
    SUPPORTED,
    Count,
    FeatureService,
    LastK,
    Window,
    days,
    sliding,
)
from playhead.evaluate import evaluate
from playhead.plan import AttributePlan, DailyPlan, speed_plan
from playhead.relations import day_key
from playhead.serving.deployed import compare
from playhead.serving.online import OnlineStore
from playhead.serving.packed import Packer
from playhead.serving.registry import apply
from playhead.serving.served_table import served_schema
from playhead.serving.vectors import VectorService
from playhead.serving.views import feast_objects
from tests.memory import MemoryRedis
from tests.parity.groups import ALL
from tests.parity.streams import as_table, many_streams, spine_of
from tests.test_golden import duckdb, flink, spark

LIKES = {
    "listener": Count("likes", where=_.event_type == "LIKE", over=sliding("1h")),
    "listener_daily": Count("likes", where=_.event_type == "LIKE", over=days(7)),
}


@pytest.mark.parametrize("name", LIKES)
def test_one_more_line_in_a_group_is_a_feature_everywhere(name: str, settings: Settings) -> None:
    """Nothing but the declaration is changed here, and every engine, store and log has the feature."""
    declared = load_declarations()
    (before, (*_others, feature)) = declared.group(name), [LIKES[name]]
    after = replace(before, features=(*before.features, feature))
    (output,) = [n for n in after.feature_names if n not in before.feature_names]
    service = FeatureService(name="probe_v1", groups=(after,))
    now = Declarations((after,), (service,))

    apply(settings, Declarations((before,), ()))
    (change,) = compare(settings, now).groups
    assert (change.change, change.features) == ("changed", {output: "added"})

    plan = compile_group(after)
    assert not isinstance(plan, AttributePlan)
    for compiled in (flink, spark, duckdb):
        assert "likes" in compiled(speed_plan(plan)), compiled.__name__
    events = many_streams(range(3), 100)
    table, spine = as_table(events), spine_of(events, 1, 300)
    found = evaluate(service, table, spine)[f"{name}__{output}"]
    assert found.equals(evaluate(service, table, spine, "oracle")[f"{name}__{output}"])
    assert set(found.to_pylist()) > {0, 1}

    (view,) = [each for each in feast_objects(now, settings) if each.name == name]
    assert output in [field.name for field in view.features]
    assert f"{name}__{output}" in served_schema(service, now).names
    assert Packer.of(plan).unpack(Packer.of(plan).pack(0, {output: 3})).values[output] == 3  # type: ignore[union-attr]
    redis = MemoryRedis()
    if isinstance(plan, DailyPlan):
        redis.put(Packer.of(plan.today), day_key("u1", 0), 0, {feature.name: 3})
    else:
        redis.put(Packer.of(plan), "u1", 0, {output: 3})
    fetched = VectorService(service, now).fetch(OnlineStore(redis, "memory"), {plan.key: "u1"}, lambda: 1.0)
    assert fetched.to_arrow()[f"{name}__{output}"].to_pylist() == [3]


PARITY: dict[type, set[type[Window]]] = {}
for group in ALL:
    for declared_feature in group.features:
        windows = getattr(declared_feature, "over", group.windows if not isinstance(declared_feature, LastK) else ())
        PARITY.setdefault(type(declared_feature), set()).update(map(type, windows))


@pytest.mark.parametrize(
    ("aggregate", "window"),
    [(aggregate, window) for aggregate, windows in SUPPORTED.items() for window in windows if aggregate is not LastK],
    ids=lambda each: each.__name__,
)
def test_what_is_supported_is_in_the_parity_groups(aggregate: type, window: type[Window]) -> None:
    """So a new aggregate, or a new window of one, fails here until a row of tests/parity/groups.py has it."""
    assert window in PARITY.get(aggregate, set())
