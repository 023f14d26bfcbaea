"""The circuit breaker and the time budget, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from playhead.errors import StackError
from playhead.serving.breaker import Breaker, Guard, Unanswered

PAUSE = timedelta(seconds=10)
PATIENCE = timedelta(seconds=60)


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, PAUSE, clock)


@pytest.fixture
def guard(breaker: Breaker) -> Iterator[Guard]:
    with closing(Guard(PATIENCE, breaker)) as made:
        yield made


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert (breaker.is_open, breaker.admits()) == (False, True)
    fail(breaker, 1)
    assert (breaker.is_open, breaker.admits()) == (True, False)


def test_after_the_pause_one_may_ask_and_the_next_a_pause_later(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now_s = 9.9
    assert not breaker.admits()
    clock.now_s = 10.0
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.failed()
    clock.now_s = 19.9
    assert not breaker.admits()
    clock.now_s = 20.0
    assert breaker.admits()


def test_a_success_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now_s = 10.0
    assert breaker.admits()
    breaker.succeeded()
    assert (breaker.is_open, breaker.admits(), breaker.admits()) == (False, True, True)
    fail(breaker, 2)
    assert not breaker.is_open


def reason(guard: Guard, error: Exception) -> str:
    def work() -> None:
        raise StackError("Redis") from error

    with pytest.raises(Unanswered) as raised:
        asyncio.run(guard.ask(work))
    return raised.value.reason


def test_a_guard_gives_what_the_work_gives(guard: Guard) -> None:
    assert asyncio.run(guard.ask(lambda: 7)) == 7


def test_a_guard_says_why_there_is_nothing_and_opens_the_breaker(guard: Guard) -> None:
    assert reason(guard, RedisConnectionError()) == "unavailable"
    assert reason(guard, RedisTimeoutError()) == "budget"
    assert not guard.breaker.is_open
    assert reason(guard, RedisConnectionError()) == "unavailable"
    assert reason(guard, RedisConnectionError()) == "breaker"


def test_an_asker_waits_no_longer_than_the_budget(breaker: Breaker) -> None:
    answer, begun = Event(), []

    async def ask() -> list[str]:
        async def one() -> str:
            try:
                await guard.ask(lambda: (begun.append(1), answer.wait(60)))
            except Unanswered as unanswered:
                return unanswered.reason
            return "answered"

        return [*(await asyncio.gather(*(one() for _ in range(20)))), await one()]

    with closing(Guard(timedelta(milliseconds=20), breaker)) as guard:
        try:
            assert asyncio.run(ask()) == ["budget"] * 20 + ["breaker"]
            assert len(begun) < 20, "who gets no thread has waited too"
        finally:
            answer.set()


def test_an_error_that_is_not_the_stores_is_not_hidden(guard: Guard) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(guard.ask(lambda: 1 // 0))
    assert not guard.breaker.is_open
