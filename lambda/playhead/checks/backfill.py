"""Backfill against the archive: what Spark recomputes equals what Flink wrote, at random moments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.local.lake import count_events, sample_moments
from playhead.plan import SpeedPlan
from playhead.serving.asof import as_of
from playhead.serving.lake_rows import Feature, ViewRows

_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One group at random moments: how many points were compared, how many differ, and a few of those.

    Entities with late events are left out: the backfill has healed them, the archive has not. What a dimension was told
    after the stream had seen its events is such a difference too, and counts.
    """

    points: int
    different: int
    examples: tuple[dict[str, Any], ...]


def check_backfill(
    settings: Settings, declarations: Declarations, *, points: int = 1_000, seed: int = 1
) -> dict[str, Agreement]:
    """Compare `lake/backfill` with `lake/speed` as of random moments; the result is kept as `backfill`.

    Args:
        settings: says where the lake is.
        declarations: what is declared; each of its speed groups is compared.
        points: random (entity, moment) pairs of each group, near its rows, up to the last event's second.
        seed: of the choice.

    Returns:
        Group to agreement.
    """
    last_ms = count_events(settings.lake).last_ms or 0
    found = {}
    for plan in declarations.speed_plans:
        spine = sample_moments(settings.lake, plan, points, seed, last_ms // 1000 * 1000 + 1000)
        found[plan.name] = _compare(settings, plan, spine)
    results.save(settings, "backfill", {"groups": {name: asdict(each) for name, each in found.items()}})
    return found


def _compare(settings: Settings, plan: SpeedPlan, spine: pa.Table) -> Agreement:
    archived, again = (_features(settings, plan, spine, kind) for kind in ("parquet", "delta"))
    differing = [
        {**point, "archived": old, "backfilled": new}
        for point, old, new in zip(spine.to_pylist(), archived, again, strict=True)
        if old != new
    ]
    return Agreement(
        points=spine.num_rows, different=len(differing), examples=tuple(map(_plain, differing[:_EXAMPLES]))
    )


def _features(settings: Settings, plan: SpeedPlan, spine: pa.Table, kind: Any) -> list[dict[str, Any]]:
    folder = settings.lake / ("speed" if kind == "parquet" else "backfill") / plan.name
    names = [name for name, _ in plan.schema]
    view = ViewRows(
        name=plan.name,
        path=folder,
        format=kind,
        keys=((plan.key, plan.key),),
        features=tuple(Feature(name, f"value__{name}") for name in names),
        created="created_at",
    )
    values: list[dict[str, Any]] = (
        as_of(spine, "event_timestamp", [view]).select([f.name for f in view.features]).to_pylist()
    )
    return values


def _plain(example: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, dict) else str(value) for name, value in example.items()}
