"""What healing changes: a group's rows of some days, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from playhead.plan import SpeedPlan


@dataclass(frozen=True, kw_only=True)
class FeatureCorrection:
    """Of one feature: rows where it differs, and by how much at most; null where that is no number."""

    rows: int
    largest: float | None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Of one group: rows that came, went and differ, the days where they do, and how its features differ."""

    added: int
    removed: int
    changed: int
    days: tuple[str, ...]
    features: Mapping[str, FeatureCorrection]

    @property
    def rows(self) -> int:
        """All rows that are not as they were."""
        return self.added + self.removed + self.changed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def correction(before: DataFrame, after: DataFrame, plan: SpeedPlan) -> Correction:
    """Compare rows by their key and time.

    Args:
        before: key, `event_timestamp`, features, `dt`; a feature that it lacks was null.
        after: the same.
        plan: the group's.
    """
    numbers = {name for name, kind in plan.schema if kind.is_numeric()}
    on = [plan.key, "event_timestamp", "dt"]
    old = before.select(*on, f.lit(True).alias("old"), *_features(before, plan, "old"))
    new = after.select(*on, f.lit(True).alias("new"), *_features(after, plan, "new"))
    both = old.join(new, on, "full")
    pairs = {name: (f.col(f"old_{name}"), f.col(f"new_{name}")) for name, _ in plan.schema}
    kept = f.col("old").isNotNull() & f.col("new").isNotNull()
    differ = {name: kept & ~was.eqNullSafe(now) for name, (was, now) in pairs.items()}
    changed = f.lit(False)
    for each in differ.values():
        changed = changed | each
    found = (
        both.agg(
            f.count_if(f.col("old").isNull()).alias("added"),
            f.count_if(f.col("new").isNull()).alias("removed"),
            f.count_if(changed).alias("changed"),
            f.sort_array(f.collect_set(f.when(~kept | changed, f.col("dt")))).alias("days"),
            *(f.count_if(each).alias(f"rows_{name}") for name, each in differ.items()),
            *(_largest(*pairs[name]).alias(f"largest_{name}") for name in numbers),
        )
        .collect()[0]
        .asDict()
    )
    features = {
        name: FeatureCorrection(rows=found[f"rows_{name}"], largest=found.get(f"largest_{name}"))
        for name in pairs
        if found[f"rows_{name}"]
    }
    counts = {name: int(found[name]) for name in ("added", "removed", "changed")}
    return Correction(**counts, days=tuple(found["days"]), features=features)


def _features(frame: DataFrame, plan: SpeedPlan, side: str) -> list[Column]:
    return [(f.col(name) if name in frame.columns else f.lit(None)).alias(f"{side}_{name}") for name, _ in plan.schema]


def _largest(was: Column, now: Column) -> Column:
    return f.max(f.abs(now - was)).cast("double")
