"""What checks have told, on the page: problems, charts, and the calendar of the batch layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from playhead.checks.readings import Reading, Standing
from playhead.config import PROJECT, Settings
from playhead.declarations import load_declarations
from playhead.report.batch_days import Calendar, State, calendar_of
from playhead.report.chart import chart_of
from playhead.report.drift import drift_views, drifted
from playhead.report.facts import DeadLetters, Facts, Flink, Kafka, LakeTable, Published, Reason
from playhead.report.gather import gather
from playhead.report.page import render
from playhead.report.problem import Problem, Runbook, Stage
from playhead.report.problems import problems_of
from playhead.report.stages import Finding, Override, Verdict
from tests.homes import DAY, NOW

YESTERDAY = NOW - timedelta(days=1)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Facts of a home where nothing has run."""
    return gather(Settings(home=tmp_path_factory.mktemp("home")), load_declarations(), now=NOW)


def standing(check: str, subject: str, measure: str, *, since: datetime | None = YESTERDAY, **more: Any) -> Standing:
    """Something that is wrong, measured just now."""
    values: dict[str, Any] = {"value": 0.5, "allowed": 0.2, "ok": since is None} | more
    at, before, moments = (values.pop(name, default) for name, default in _WITHOUT.items())
    reading = Reading(check=check, subject=subject, measure=measure, **values)
    return Standing(reading=reading, at=at, since=since, before=before, moments=moments)


_WITHOUT: Mapping[str, Any] = {"at": NOW, "before": (), "moments": ()}


def told(facts: Facts, *standings: Standing) -> list[Problem]:
    return list(problems_of(replace(facts, standings=standings)))


def test_much_that_has_drifted_is_one_problem(nothing: Facts) -> None:
    names = [f"listener__{name}" for name in ("plays_1h", "skips_1h", "likes_1d", "no_longer_declared")]
    found = [standing("drift", name, "psi", since=YESTERDAY - n * DAY) for n, name in enumerate(names)]
    (problem,) = told(nothing, *found, standing("drift", names[0], "js"))
    assert problem.title == "Drift: 4 features are beyond what is allowed"
    assert problem.since == YESTERDAY - 3 * DAY
    assert [item.subject for item in problem.items] == names[::-1]
    assert problem.items[-1].words == "js 0.500, allowed 0.200; psi 0.500, allowed 0.200"
    assert {"listener__plays_1h", "listener__skip_rate_1h"} <= {*problem.affected.features}
    assert problem.affected.services == ("listener_v1",)
    assert (problem.section, problem.stage, problem.runbook) == ("drift", Stage.SERVED, "drift")


def test_what_is_as_it_should_be_is_no_problem(nothing: Facts) -> None:
    assert told(nothing, standing("drift", "listener__plays_1h", "psi", since=None)) == []


def test_quality_is_told_by_table_and_concerns_who_reads_its_columns(nothing: Facts) -> None:
    nulls = standing("quality", "events", "null_rise(track_id)", detail="from 2 % to 43 %")
    count = standing("quality", "events", "failures", value=2.0, allowed=0.0)
    (alone,) = told(nothing, nulls, count)
    assert alone.title == "Quality: events null rise of track_id 0.500, allowed 0.200"
    assert alone.detail == "from 2 % to 43 %."
    assert alone.affected == nothing.lineage.of_subject("events.track_id")
    (both,) = told(nothing, nulls, count, standing("quality", "events", "known(track)"))
    assert both.title == "Quality: events is wrong in 2 measures"
    assert [item.subject for item in both.items] == ["known of track", "null rise of track_id"]
    assert both.items[0].words == "0.500, allowed 0.200"
    (three,) = told(nothing, nulls, count, *(standing("quality", "events", each) for each in ("doubled", "volume")))
    assert [item.subject for item in three.items] == ["doubled", "null rise of track_id", "volume"]
    views = told(nothing, nulls, standing("quality", "track_daily", "failures"))
    assert [problem.subjects for problem in views] == [("events",), ("track_daily",)]


def test_days_that_are_held_back_are_told_with_the_quality(nothing: Facts) -> None:
    failing = replace(nothing.stages, quality=(verdict("2025-03-02", holds=False),))
    facts = replace(nothing, stages=failing)
    (problem,) = told(facts, standing("quality", "events", "failures"))
    assert problem.detail == "Not published: 2025-03-02."
    (rule,) = told(facts)
    assert rule.title == "Quality of events fails, 2025-03-02", "and without a reading the rule tells it"


def test_each_part_that_is_late_is_a_problem_of_whom_it_concerns(nothing: Facts) -> None:
    lake = standing("freshness", "lake", "lag_s", value=420.0, allowed=60.0)
    batch = standing("freshness", "batch", "age_s", value=200_000.0, allowed=172_800.0)
    log = standing("freshness", "served-features", "records", value=9.0, allowed=1.0)
    found = {problem.subjects[0]: problem for problem in told(nothing, lake, batch, log)}
    assert found["lake"].title == "Freshness: lake lag 7 min, allowed 60 s"
    assert (found["lake"].runbook, found["lake"].since) == ("lakelag", YESTERDAY)
    assert found["lake"].affected == nothing.lineage.of_subject("events")
    assert {name.partition("__")[0] for name in found["batch"].affected.features} == {
        "listener_daily",
        "track_daily",
        "artist_daily",
        "affinity",
    }
    assert found["served-features"].affected.features == ()


def test_what_a_check_has_told_is_not_told_again(nothing: Facts) -> None:
    facts = replace(nothing, flink=Flink(job=None))
    (rule,) = told(facts)
    assert rule.title == "The speed job is not running"
    (reading,) = told(facts, standing("freshness", "job", "running", value=0.0, allowed=None))
    assert reading.title == "Freshness: job not running"
    assert reading.since == YESTERDAY


def test_what_was_measured_long_ago_says_so(nothing: Facts) -> None:
    (problem,) = told(nothing, standing("drift", "listener__plays_1h", "psi", at=NOW - timedelta(hours=9)))
    assert problem.detail == "Measured 9 h ago."


def test_a_check_without_a_section_is_shown_among_the_others(nothing: Facts) -> None:
    (problem,) = told(nothing, standing("shadow_scores", "listener_v1/ranker", "auc"))
    assert (problem.section, problem.runbook) == ("checks", "checkfailed")
    assert problem.affected.services == ("listener_v1",)
    html = render(replace(nothing, standings=(standing("shadow_scores", "listener_v1/ranker", "auc"),)))
    assert "Shadow scores: beyond what is allowed" in html


def test_drift_is_shown_by_view_and_the_worst_first(nothing: Facts) -> None:
    far = standing("drift", "track__plays_1h", "psi", value=2.0)
    near = standing("drift", "listener__plays_1h", "psi", value=0.3)
    fine = standing("drift", "listener__plays_1h", "js", value=0.1, since=None)
    volume = standing("drift", "listener_v1", "volume", since=None, value=1.0)
    views = drift_views(replace(nothing, standings=(near, fine, volume, far)))
    assert [(view.view, view.wrong, view.measures) for view in views] == [
        ("labels, scores and volume", 0, ("volume",)),
        ("listener", 1, ("psi", "js")),
        ("track", 1, ("psi",)),
    ]
    assert [each.subject for each in drifted(views)] == ["track__plays_1h", "listener__plays_1h"]
    assert drifted(views)[1].worst == near


@pytest.mark.parametrize(
    ("before", "allowed", "line", "limit"),
    [
        ((0.0, 1.0), 0.5, "M0 94L1 6", 50),
        ((0.0, None, 1.0), None, "M0 94M2 6", None),
        ((0.0, -1.0), 0.5, "M0 6L1 94", 50),
        ((0.0, 0.0), 0.0, "M0 94L1 94", 94),
    ],
)
def test_a_chart_is_a_line_beside_what_is_allowed(
    before: tuple[float | None, ...], allowed: float | None, line: str, limit: int | None
) -> None:
    moments = tuple(NOW + n * DAY for n in range(len(before)))
    values = {"before": before, "moments": moments, "value": before[-1], "allowed": allowed}
    chart = chart_of(standing("drift", "a__b", "null_shift", **values))
    assert chart is not None
    assert (chart.line, chart.limit, chart.values) == (line, limit, tuple(zip(moments, before, strict=True)))
    assert chart.label.startswith(f"null shift of a__b, {len(before)} values from ")


def test_one_value_is_no_chart() -> None:
    assert chart_of(standing("drift", "a__b", "psi", before=(None, 0.3), moments=(NOW, NOW))) is None


def verdict(day: str, *, holds: bool) -> Verdict:
    failure = Finding(
        expectation="be_between", column=None, condition=None, success=False, observed=1, unexpected=1, error=None
    )
    return Verdict(suite="events", days=(day,), at=NOW, expectations=1, failures=() if holds else (failure,))


def days_of(calendar: Calendar) -> dict[date, State]:
    return {each.day: each.state for each in calendar.days}


def test_the_calendar_says_what_became_of_each_day(nothing: Facts) -> None:
    days = {f"2025-03-{n:02}": 5 for n in (1, 2, 3, 4, 6, 7, 9)}
    newest = datetime(2025, 3, 9, 23, tzinfo=UTC)
    events = LakeTable(rows=9, files=1, by_day=days, late_by_day={}, newest=newest, written=NOW, unreadable=())
    out = ("2025-03-01", "2025-03-03")
    end = datetime(2025, 3, 4, tzinfo=UTC)
    mark = Published(dt=out[-1], end=end, at=NOW, fingerprints={}, days=out)
    quality = (verdict("2025-03-03", holds=False), verdict("2025-03-04", holds=False))
    decided = {"2025-03-03": Override(at=NOW, by="ada", reason="the holiday")}
    stages = replace(nothing.stages, quality=quality, overrides=decided)
    facts = replace(nothing, lake=replace(nothing.lake, events=events, published=mark), stages=stages)
    calendar = calendar_of(facts)
    assert calendar is not None
    states = days_of(calendar)
    assert [states[date(2025, 3, n)] for n in range(1, 10)] == [
        State.PUBLISHED,
        State.MISSING,  # a later day is published
        State.OVERRIDDEN,
        State.FAILED,
        State.EMPTY,
        State.MISSING,  # its end is more than two days behind the events
        State.WAITING,
        State.EMPTY,
        State.WAITING,
    ]
    assert len(states) == 91 and calendar.weeks[-1] == date(2025, 3, 3)
    assert dict(calendar.notable)[State.MISSING] == ["2025-03-02", "2025-03-06"]
    assert "2025-03-03 by ada, “the holiday”." in " ".join(render(facts).split())


def test_dead_letters_have_the_commands_to_look_and_to_send_again(nothing: Facts) -> None:
    reasons = (
        Reason(name="missing_field:user_id", records=7, newest=NOW, example="playback-events/1/7"),
        Reason(name="(no reason in its key)", records=1, newest=None, example="playback-events.dlq/0/3"),
    )
    letters = DeadLetters(records=8, read=8, repeated=0, reasons=reasons)
    html = render(replace(nothing, kafka=Kafka(topics={}, lags=(), dead_letters=letters)))
    commands = re.findall(r"<code>(playhead dlq [^<]+)</code>", html)
    assert commands == ["playhead dlq show 1:7", "playhead dlq replay --reason missing_field:user_id"]


def test_the_runbook_has_every_part_that_the_page_names() -> None:
    headings = re.findall(r"^#+ (.+)$", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert {part.value for part in Runbook} <= {heading.lower().replace(" ", "-") for heading in headings}


def test_a_home_without_events_has_no_calendar(nothing: Facts) -> None:
    assert calendar_of(nothing) is None


def test_too_many_refused_are_told_once_and_since_their_hour(nothing: Facts) -> None:
    (problem,) = told(nothing, standing("accounts", "events", "refused", value=0.06, allowed=0.01))
    assert (problem.section, problem.stage, problem.since) == ("dead-letters", Stage.DEAD_LETTERS, YESTERDAY)
    assert problem.runbook == Runbook.DEAD_LETTERS
    assert problem.affected.services == ("listener_v1",)


def test_counts_that_do_not_add_up_are_told_by_the_page_with_their_numbers(nothing: Facts) -> None:
    assert told(nothing, standing("accounts", "events", "adds_up", value=None, allowed=None)) == []
