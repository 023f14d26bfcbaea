"""Of the last hours' records, how many were refused, and since when too many."""

from __future__ import annotations

from datetime import UTC, datetime

from playhead.checks.accounts import Refused

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_741_046_400_000  # 2025-03-04


def refused(*hours: tuple[int, int], most: float = 0.01) -> Refused:
    """Hours after midnight in order, each of a hundred events and so many broken messages."""
    found = Refused(most)
    for hour, broken in hours:
        for n in range(100):
            found.note(n % 4, MIDNIGHT_MS + hour * HOUR_MS + n)
        for n in range(broken):
            found.note(n % 4, None)
    return found


def test_a_broken_producer_is_told_since_its_first_hour() -> None:
    found = refused((20, 0), (21, 30), (22, 40))
    assert found.share == 70 / 370
    assert found.since == datetime(2025, 3, 4, 21, tzinfo=UTC)


def test_a_few_refused_are_nothing() -> None:
    found = refused(*((hour, hour % 2) for hour in range(24)))
    assert 0 < found.share <= 0.01 and found.since is None


def test_an_hour_that_has_more_by_chance_is_nothing_while_the_day_has_not() -> None:
    assert refused((0, 0), *((hour, 5 if hour == 7 else 0) for hour in range(1, 24))).since is None


def test_what_was_broken_a_day_before_is_over() -> None:
    found = refused((1, 90), *((hour, 0) for hour in range(2, 30)))
    assert (found.share, found.since) == (0, None)


def test_an_empty_topic_has_nothing_refused() -> None:
    found = Refused(0.01)
    found.note(0, None)
    assert (found.share, found.since) == (0, None)
