"""What a measurement needs beside a clock: CPU time of a process with all that it started, and quantiles."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its descendants have used so far, user and system, in seconds.

    A descendant that has ended counts too, as soon as its parent has waited for it: the system then adds its time to
    the parent's.

    Raises:
        psutil.NoSuchProcess: the process itself is gone.
    """
    process = psutil.Process(pid)
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            # user, system, and both of its own ended children.
            total += sum(child.cpu_times()[:4])
    return float(total)


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that is not exceeded by this share of the values.

    >>> quantile([3, 1, 2, 4], 0.5), quantile([3, 1, 2, 4], 0.99)
    (2, 4)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def goals_met(goals: Mapping[str, tuple[float, str]], figures: Mapping[str, Any]) -> dict[str, bool]:
    """Which goals figures meet.

    >>> goals_met({"p99_s": (3, "at most"), "ratio": (5, "at least")}, {"p99_s": 2.9, "ratio": 4.9, "events": 10})
    {'p99_s': True, 'ratio': False}
    """
    return {
        name: figures[name] >= goal if kind == "at least" else figures[name] <= goal
        for name, (goal, kind) in goals.items()
    }
