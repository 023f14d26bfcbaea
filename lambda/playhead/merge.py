"""The Lambda merge: windows of calendar days from what the batch layer has published and what the speed layer knows.

A window of N days ends at a moment q: today so far, and the N - 1 whole UTC days before. Let E be the end of the last
day that the batch layer has published. The days before E come from its partials, those from E on from the speed layer,
which keeps the partials of today and of the two days before. So the value is the same for every E that is at most two
days behind q, and a late batch bends nothing. Where a day of the window is in neither layer, the value is refused:
never silently short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from playhead.expressions import resolve, vectorised
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS

SPEED_DAYS = 3
"""Days of which the speed layer keeps partials: today, yesterday, and the day before."""

Moments: TypeAlias = npt.NDArray[np.int64]
"""Epoch milliseconds, one for each row."""

Partials: TypeAlias = Mapping[str, npt.NDArray[np.int64]]
"""Measure to its partials, a row for each row and a column for each day. Of a day without events a sum is 0, and an
extreme is masked (`numpy.ma`)."""


@dataclass(frozen=True)
class Merged:
    """Features in the plan's schema, and which of them were refused: null, and true in `stale`.

    Both have a row for each row that was merged.
    """

    values: pa.Table
    stale: Mapping[str, npt.NDArray[np.bool_]]


def day_of(moments_ms: Moments) -> Moments:
    """The first millisecond of each moment's UTC day.

    >>> day_of(np.array([86_400_000 + 5]))
    array([86400000])
    """
    return moments_ms - moments_ms % DAY_MS


def merge(plan: DailyPlan, moments_ms: Moments, ends_ms: Moments, batch: Partials, speed: Partials) -> Merged:
    """The plan's features at moments, from both layers; pure, and the same for every end up to two days behind.

    Args:
        plan: of calendar windows.
        moments_ms: q of each row.
        ends_ms: E of each row, a midnight; what was published by then.
        batch: measure to partials [rows, days]: column i is the day that ends i days before E.
        speed: measure to partials [rows, `SPEED_DAYS`], as of q: column j is j days before the day of q.

    >>> from playhead.declare import Count, Entity, FeatureGroup, days
    >>> from playhead.compile import compile_group
    >>> plays = Count("plays", where=ibis._.event_type == "PLAY", over=days(3))
    >>> plan = compile_group(FeatureGroup(name="g", entity=Entity(name="user", key="user_id"), features=(plays,)))
    >>> noon, days_ms = np.array([10 * DAY_MS + DAY_MS // 2]), np.array([[9, 10]]) * DAY_MS
    >>> known = {"plays": np.array([[4, 2, 1]])}  # today, yesterday, and before
    >>> on_time = merge(plan, noon, days_ms[:, 1], {"plays": np.array([[2, 1]])}, known)
    >>> a_day_late = merge(plan, noon, days_ms[:, 0], {"plays": np.array([[1, 7]])}, known)
    >>> on_time.values["plays_3d"].to_pylist(), a_day_late.values["plays_3d"].to_pylist()
    ([7], [7])
    """
    behind = (day_of(moments_ms) - ends_ms) // DAY_MS
    columns: dict[str, pa.Array] = {}
    stale: dict[str, npt.NDArray[np.bool_]] = {}
    how = {measure.name: measure.how for measure in plan.measures}
    for name, measure, length in plan.windows:
        found, covered = _window(behind, batch[measure], speed[measure], length, how[measure])
        masked: Any = np.ma
        columns[name] = pa.array(masked.getdata(found), mask=~covered | masked.getmaskarray(found))
        stale[name] = ~covered
    for computed in plan.derived:
        table = ibis.table({name: _ibis_type(column) for name, column in columns.items()}, name="merged")
        node = resolve(computed.value, table).op()
        columns[computed.name] = vectorised(node, columns).cast(computed.kind.to_pyarrow())
        stale[computed.name] = _any(stale[field.name] for field in node.find(ibis.expr.operations.Field))
    names = [name for name, _ in plan.schema]
    return Merged(pa.table([columns[name] for name in names], names=names), {name: stale[name] for name in names})


def _window(
    behind: Moments, batch: npt.NDArray[np.int64], speed: npt.NDArray[np.int64], length: int, how: str
) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Each row's sum or extreme over its window, and whether every day of the window was in one of the layers.

    A day's age is 0 today. The batch layer has those from `behind + 1` on, the speed layer those up to `behind`.
    """
    ages = behind[:, None] + 1 + np.arange(batch.shape[1])
    published = (ages >= 1) & (ages < length)
    live = np.arange(SPEED_DAYS)
    running = (live <= np.maximum(behind, 0)[:, None]) & (live < length)
    masked: Any = np.ma
    days, inside = masked.concatenate([batch, speed], axis=1), np.concatenate([published, running], axis=1)
    known = masked.array(days, mask=masked.getmaskarray(days) | ~inside)
    found = known.filled(0).sum(axis=1) if how == "sum" else getattr(known, how)(axis=1)
    return found, inside.sum(axis=1) == length


def _any(flags: Any) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.logical_or.reduce(list(flags))
    return found


def _ibis_type(column: pa.Array) -> str:
    return "float64" if pa.types.is_floating(column.type) else "int64"
