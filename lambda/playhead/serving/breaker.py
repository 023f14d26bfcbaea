"""Asking the online store within a time budget, and not at all while it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Literal, TypeAlias, TypeVar

import structlog
from redis.exceptions import TimeoutError as RedisTimeoutError

from playhead.errors import StackError

log = structlog.get_logger()

Reason: TypeAlias = Literal["budget", "breaker", "unavailable"]
"""Why the store was not read: no answer in time, not asked because it has not answered lately, an error."""

FAILURES = 5
PAUSE = timedelta(seconds=1)

T = TypeVar("T")


class Unanswered(Exception):
    """The store was not read."""

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(reason)


class Breaker:
    """A circuit breaker. Closed: everyone may ask. Open, after failures in a row: one asker in each pause.

    One thread uses it.

    Args:
        failures: how many in a row open it.
        pause: how long nobody asks then; a success of the one who asks next closes it.
        now_s: a clock that never goes back, in seconds.
    """

    def __init__(
        self, failures: int = FAILURES, pause: timedelta = PAUSE, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed, self._pause_s, self._now_s = failures, pause.total_seconds(), now_s
        self._failures = 0
        self._next_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether askers are turned away."""
        return self._failures >= self._allowed

    def admits(self) -> bool:
        """Whether one may ask now. While open, a yes is a probe: the next is a pause later, whatever becomes of it."""
        if not self.is_open:
            return True
        now_s = self._now_s()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._pause_s
        return True

    def succeeded(self) -> None:
        """The store answered."""
        if self.is_open:
            log.info("circuit breaker closed")
        self._failures = 0

    def failed(self) -> None:
        """The store did not answer."""
        self._failures += 1
        if self._failures == self._allowed:
            self._next_s = self._now_s() + self._pause_s
            log.warning("circuit breaker open", failures=self._failures, probe_every_s=self._pause_s)


class Guard:
    """Runs what reads the store in a thread of its own, and waits for it no longer than the budget.

    Two threads answer no more, because of the interpreter's lock, but later: each finds its caches cold.

    Args:
        budget: how long an asker waits; whoever does not get the thread in time has waited in vain too.
        breaker: told what became of it.
    """

    def __init__(self, budget: timedelta, breaker: Breaker) -> None:
        self._budget_s, self.breaker = budget.total_seconds(), breaker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def ask(self, work: Callable[[], T]) -> T:
        """The result of the work.

        Raises:
            Unanswered: there is none, because of the store.
        """
        if not self.breaker.admits():
            raise Unanswered("breaker")
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(loop.run_in_executor(self._thread, work), self._budget_s)
        except TimeoutError as error:
            raise self._failed("budget") from error
        except StackError as error:
            # The client's own timeout is the budget too: it frees the thread.
            raise self._failed("budget" if isinstance(error.__cause__, RedisTimeoutError) else "unavailable") from error
        self.breaker.succeeded()
        return found

    def close(self) -> None:
        """End the thread, without waiting for the store."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _failed(self, reason: Reason) -> Unanswered:
        self.breaker.failed()
        return Unanswered(reason)
