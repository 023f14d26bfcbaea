"""Spark jobs side by side: a small one is mostly waiting, for a commit or for its last task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = 4


def side_by_side(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Run the calls, a few at a time; all have ended when it returns.

    Returns:
        What they return, in order.

    Raises:
        Exception: what the first of them in order raised.

    >>> side_by_side([lambda: 1, lambda: 2])
    [1, 2]
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="spark-job") as pool:
        futures = [pool.submit(call) for call in calls]
    return [future.result() for future in futures]
