"""The history of readings: what stands now, and since when."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable

from playhead.checks import readings
from playhead.checks.readings import Reading, record, standings
from playhead.config import Settings

DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def _psi(day: int, value: float, since: datetime | None = None) -> Reading:
    return Reading(
        check="drift",
        subject="listener__plays_1h",
        measure="psi",
        value=value,
        allowed=0.2,
        ok=value <= 0.2,
        of=FIRST + day * DAY,
        since=since,
    )


def test_nothing_stands_before_the_first_check(settings: Settings) -> None:
    assert standings(settings) == []
    record(settings, [])
    assert standings(settings) == []


def test_what_is_wrong_is_wrong_since_the_first_day_of_the_last_ones_in_a_row(settings: Settings) -> None:
    for day, value in enumerate((0.3, 0.1, 0.4, 0.5)):
        record(settings, [_psi(day, value)], now=NOON + day * DAY)
    [found] = standings(settings)
    assert (found.reading.value, found.since, found.at) == (0.5, FIRST + 2 * DAY, NOON + 3 * DAY)
    assert found.before == (0.3, 0.1, 0.4, 0.5)
    assert found.moments == tuple(FIRST + day * DAY for day in range(4))


def test_a_day_measured_again_replaces_what_was_measured_before(settings: Settings) -> None:
    record(settings, [_psi(0, 0.1), _psi(1, 0.4)], now=NOON)
    record(settings, [_psi(1, 0.05)], now=NOON + DAY)
    [found] = standings(settings)
    assert (found.reading.value, found.since, found.before) == (0.05, None, (0.1, 0.05))


def test_an_older_day_measured_later_is_not_the_newest(settings: Settings) -> None:
    record(settings, [_psi(3, 0.1)], now=NOON)
    record(settings, [_psi(1, 0.9)], now=NOON + DAY)
    [found] = standings(settings)
    assert found.reading.of == FIRST + 3 * DAY and found.since is None


def test_a_check_that_knows_when_it_began_is_believed(settings: Settings) -> None:
    began = FIRST + timedelta(hours=3)
    record(settings, [_psi(0, 0.3, since=began)], now=NOON)
    record(settings, [_psi(1, 0.3)], now=NOON + DAY)
    [found] = standings(settings)
    assert found.since == began


def test_what_is_of_the_moment_is_ordered_by_the_moment(settings: Settings) -> None:
    def lag(value: float) -> Reading:
        return Reading(check="freshness", subject="online", measure="p99_ms", value=value, allowed=5, ok=value <= 5)

    for minute, value in enumerate((1, 9, 8)):
        record(settings, [lag(value)], now=NOON + timedelta(minutes=minute))
    record(settings, [_psi(0, 0.1)], now=NOON)
    [found] = standings(settings, ["freshness"])
    assert (found.reading.value, found.since) == (8, NOON + timedelta(minutes=1))
    assert [each.reading.check for each in standings(settings)] == ["drift", "freshness"]


def test_what_was_wrong_from_the_beginning_is_wrong_since_then(settings: Settings) -> None:
    record(settings, [_psi(0, 0.3), _psi(1, 0.5)], now=NOON)
    [found] = standings(settings)
    assert found.since == FIRST
    assert found.since.tzinfo is UTC and found.at.tzinfo is UTC


def test_a_history_of_ninety_days_and_200_features_is_read_at_once(settings: Settings) -> None:
    """108,000 rows; row by row in Python it took ten times as long."""
    for check in ("drift", "quality"):
        readings = [
            Reading(check=check, subject=f"v__f{n}", measure=f"m{m}", value=day / 90, allowed=0.5, ok=day < 45, of=of)
            for n in range(100)
            for m in range(6)
            for day in range(90)
            for of in [FIRST + day * DAY]
        ]
        record(settings, readings, now=NOON)
    began = time.process_time()
    found = standings(settings)
    assert time.process_time() - began < 3
    assert len(found) == 1_200
    assert {each.since for each in found} == {FIRST + 45 * DAY}
    assert {len(each.before) for each in found} == {90}


def test_many_readings_are_few_files_and_stand_as_they_did(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "MOST_FILES", 5)
    for day in range(14):
        record(settings, [_psi(day, day / 50)], now=NOON + day * DAY)
    table = DeltaTable(settings.lake / "checks" / "readings")
    assert len(table.file_uris()) <= 5
    [found] = standings(settings)
    assert found.before == tuple(day / 50 for day in range(14))
    assert found.since == FIRST + 11 * DAY
