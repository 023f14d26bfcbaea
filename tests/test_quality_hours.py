"""What is usual of an hour, and what is not: without an engine."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from playhead.checks.hours import Counts, Usual, by_hour, profile
from playhead.objectives import CheckSettings

DAY = datetime(2026, 3, 9, tzinfo=UTC)
CHECKS = CheckSettings()
HOURS = range(24)


def made_up_day(seed: int, sessions: float = 12) -> list[int]:
    """Events by hour: sessions as they come, a night that is quiet, some 25 events in each."""
    rng = random.Random(seed)
    rates = [sessions * (0.6 if hour < 8 else 1.0) for hour in HOURS]
    return [sum(rng.randint(5, 45) for _ in range(200) if rng.random() < rate / 200) for rate in rates]


def found(rows: list[int], usual: Usual | None, **shares: list[int]) -> dict[str, int]:
    """What is out of bounds, with the first hour in which it is."""
    nulls = shares.get("nulls", [0] * len(rows))
    doubled, unknown = shares.get("doubled", [0] * len(rows)), shares.get("unknown", [0] * len(rows))
    counts = [
        Counts(
            since=DAY + timedelta(hours=hour),
            rows=rows[hour],
            nulls={"device": nulls[hour]},
            doubled=doubled[hour],
            keyed={"track": rows[hour]},
            known={"track": rows[hour] - unknown[hour]},
        )
        for hour in HOURS
    ]
    first: dict[str, int] = {}
    for row in profile(counts, usual, CHECKS):
        for name, value in row.items():
            if name not in ("since", "dt", "rows") and value is not None:
                first.setdefault(name, datetime.fromisoformat(row["since"]).hour)
    return first


@pytest.mark.parametrize("days", [1, 2, 4])
def test_days_like_others_are_in_bounds(days: int) -> None:
    for seed in range(0, 200, 10):
        usual = Usual(rows=tuple(tuple(made_up_day(seed + n)) for n in range(days)), nulls={"device": 0.02})
        assert found(made_up_day(seed + 9), usual, nulls=[0] * 24) == {}, seed


@pytest.mark.parametrize(
    ("change", "hour", "within"),
    [
        (lambda hour, n: n // 10 if 14 <= hour < 17 else n, 14, 3),
        (lambda hour, n: n // 4 if hour >= 12 else n, 12, 3),
        (lambda hour, n: 0 if hour >= 20 else n, 20, 3),
        # By night a few sessions more or less are as much as the change.
        (lambda hour, n: n // 4, 0, 9),
        (lambda hour, n: 2 * n, 0, 9),
    ],
    ids=["a drop", "from noon on", "nothing any more", "all day", "twice"],
)
def test_a_day_of_another_volume_is_found_with_its_hour(
    change: Callable[[int, int], int], hour: int, within: int
) -> None:
    for seed in range(0, 100, 10):
        usual = Usual(rows=tuple(tuple(made_up_day(seed + n)) for n in range(4)))
        out = found([change(h, n) for h, n in enumerate(made_up_day(seed + 9))], usual)
        assert out.keys() == {"volume"}, seed
        assert abs(out["volume"] - hour) <= within, seed


def test_nulls_doubles_and_what_is_unknown_are_found_with_their_hour() -> None:
    rows = [300] * 24
    usual = Usual(rows=(tuple(rows),) * 4, nulls={"device": 0.05})
    burst = [15 if hour != 9 else 300 for hour in HOURS]
    twice = [0 if hour != 12 else 150 for hour in HOURS]
    gap = [10 if hour < 20 else 200 for hour in HOURS]
    assert found(rows, usual, nulls=burst, doubled=twice, unknown=gap) == {
        "null_rise(device)": 9,
        "doubled": 12,
        "known(track)": 20,
    }


def test_a_first_day_has_nothing_to_be_held_against() -> None:
    assert found([300] * 12 + [0] * 12, None, nulls=[300] * 24) == {}


def test_few_events_say_little() -> None:
    usual = Usual(rows=((2,) * 24,) * 4, nulls={"device": 0.0})
    one = [1 if hour == 5 else 0 for hour in HOURS]
    assert found([5 if hour == 5 else 2 for hour in HOURS], usual, nulls=one, unknown=one) == {}


def test_where_only_days_are_known_an_hour_is_as_its_day() -> None:
    usual = Usual(rows=((7_200,), (7_100,), (7_300,)))
    assert found([300] * 24, usual) == {}
    assert found([30] * 24, usual) == {"volume": 0}


def test_hours_that_are_not_over_are_not_judged() -> None:
    hours = by_hour(date(2026, 3, 9), {}, DAY + timedelta(hours=3, minutes=59), timedelta(hours=1))
    assert [one.since.hour for one in hours] == [0, 1, 2]
    usual = Usual(rows=((300,) * 24,) * 4)
    assert [row["volume"] for row in profile(hours, usual, CHECKS)] == [0.0, 0.0, 0.0]


def test_a_table_of_few_rows_is_not_judged_by_its_volume() -> None:
    usual = Usual(rows=((20,) * 24, (18,) * 24))
    assert found([100] * 24, usual) == {}
