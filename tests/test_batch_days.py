"""Which days a batch run computes, reads and has published. No engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from playhead.batch.events import digest_of
from playhead.batch.partials import pending
from playhead.days import DAY, BatchDays, PartialTable
from playhead.declarations import load_declarations
from playhead.errors import InputError
from playhead.lake_files import event_days
from playhead.plan import DailyPlan
from playhead.published import Published, published, with_days, write_mark
from tests.lake import write_events

AT = datetime(2026, 1, 1, tzinfo=UTC)
NOV = [date(2018, 11, n) for n in range(1, 31)]
MORNING_MS = 1_541_030_400_000
"""2018-11-01T00:00:00Z."""

DAY_MS = 86_400_000
PLANS = load_declarations().daily_plans
LISTENER = PartialTable.of(PLANS[0])


def event(day: int, **values: object) -> dict[str, object]:
    return {
        "event_id": "e",
        "user_id": "u",
        "event_type": "PLAY",
        "event_time_ms": MORNING_MS + (day - 1) * DAY_MS,
        **values,
    }


def test_only_days_with_finished_files_are_event_days(tmp_path: Path) -> None:
    write_events(tmp_path, [event(3), event(1)])
    writing = tmp_path / "events" / "dt=2018-11-02" / "hour=00"
    writing.mkdir(parents=True)
    (writing / ".part-0.inprogress.1").write_bytes(b"")
    (writing / "_SUCCESS").write_bytes(b"")
    assert event_days(tmp_path) == [NOV[0], NOV[2]]
    assert event_days(tmp_path / "nowhere") == []


def test_a_folder_that_is_no_day_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "events" / "dt=yesterday").mkdir(parents=True)
    with pytest.raises(InputError, match="dt=yesterday: not a day"):
        event_days(tmp_path)


def test_the_digest_of_a_day_changes_with_its_files(tmp_path: Path) -> None:
    assert digest_of(tmp_path, NOV[0]) is None
    write_events(tmp_path, [event(1)])
    one = digest_of(tmp_path, NOV[0])
    assert one == digest_of(tmp_path, NOV[0])
    write_events(tmp_path, [event(1)], name="part-1")
    assert digest_of(tmp_path, NOV[0]) not in (None, one)


def test_a_day_without_events_is_not_pending_unless_asked_for(tmp_path: Path) -> None:
    write_events(tmp_path, [event(2)])
    assert list(pending(tmp_path, [LISTENER], NOV[:3], again=())[LISTENER.name]) == [NOV[1]]
    assert list(pending(tmp_path, [LISTENER], NOV[:3], again=[NOV[2]])[LISTENER.name]) == [NOV[1], NOV[2]]


def test_a_run_computes_the_days_of_its_windows() -> None:
    assert BatchDays((NOV[4],), longest=3).window_days == NOV[2:5]
    assert BatchDays((NOV[4], NOV[9]), longest=3).window_days == [*NOV[2:5], *NOV[7:10]]


def test_the_first_view_knows_who_is_inside_its_window() -> None:
    assert BatchDays((NOV[9],), longest=3).earliest == NOV[7]


def test_a_view_knows_everyone_who_was_in_the_view_before_it() -> None:
    assert BatchDays((NOV[9],), longest=3, published=(NOV[8],)).earliest == NOV[6]
    assert BatchDays((NOV[9],), longest=3, published=(NOV[3],)).earliest == NOV[1]
    later = BatchDays((NOV[9],), longest=3, published=(NOV[20],))
    assert later.earliest == NOV[7]


def test_days_of_one_run_follow_each_other() -> None:
    days = BatchDays((NOV[5], NOV[9]), longest=3)
    assert (days.seen_since(NOV[5]), days.seen_since(NOV[9])) == (NOV[3], NOV[3])


def mark_of(lake: Path, days: list[date], plans: Sequence[DailyPlan] = PLANS) -> Published:
    """The mark after these days."""
    (lake / "views").mkdir(exist_ok=True)
    write_mark(lake, with_days(lake, days, plans, AT))
    mark = published(lake)
    assert mark is not None
    return mark


def test_the_mark_says_how_far_the_batch_layer_is(tmp_path: Path) -> None:
    assert published(tmp_path) is None
    mark = mark_of(tmp_path, [NOV[4], NOV[5]])
    assert (mark.day, mark.end, mark.at) == (NOV[5], datetime(2018, 11, 7, tzinfo=UTC), AT)
    assert mark.fingerprints == {plan.name: plan.fingerprint for plan in PLANS}
    covered = mark.covered_of(PLANS[0])
    assert (covered[0], covered[-1], len(covered)) == (NOV[4] - 29 * DAY, NOV[5], 31)


def test_running_an_old_day_again_does_not_set_the_mark_back(tmp_path: Path) -> None:
    mark_of(tmp_path, [NOV[5]])
    mark = mark_of(tmp_path, [NOV[2]])
    assert (mark.day, mark.days, mark.covered_of(PLANS[0])[-1]) == (NOV[5], (NOV[2], NOV[5]), NOV[5])


def test_of_a_group_that_means_something_else_now_old_days_are_its_last(tmp_path: Path) -> None:
    changed = replace(PLANS[0], fingerprint="f" * 16)
    assert mark_of(tmp_path, [NOV[5]]).covered_of(changed) == ()
    mark = mark_of(tmp_path, [NOV[2]], [changed, *PLANS[1:]])
    assert (mark.covered_of(changed)[-1], mark.covered_of(PLANS[1])[-1]) == (NOV[2], NOV[5])
    assert mark.covered_of(PLANS[0]) == ()
