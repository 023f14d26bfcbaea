"""What the report gathers, and what it calls wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.report.facts import DeadLetters, Facts, Flink, Job, Kafka, Lag, Published
from playhead.report.gather import gather
from playhead.report.lake import read_lake
from playhead.report.problem import Stage
from playhead.report.problems import problems_of
from playhead.report.stages import read_stages
from playhead.stack import PartStatus
from tests.archive import write_rows
from tests.lake import write_events

NOW = datetime(2025, 3, 4, 12, tzinfo=UTC)
NOON = 1_741_003_200_000  # 2025-03-03 12:00 UTC
RUNNING = Job(
    job_id="j1", state="RUNNING", watermark=NOW, checkpoint=NOW - timedelta(seconds=4), restarts=0, failure=None
)
KAFKA = Kafka(
    topics={"playback-events": 1_000, "feature-rows": 0},
    lags=(Lag(group="playhead-speed", topic="playback-events", records=3),),
    dead_letters=DeadLetters(records=10, read=10, repeated=0, reasons=()),
)


def write(lake: Path, *times_ms: int, late: bool = False, name: str = "part-0") -> None:
    events = [{"event_id": f"{name}-{n}", "event_time_ms": time, "late": late} for n, time in enumerate(times_ms)]
    write_events(lake, events, name)


def counted(lake: Path) -> Any:
    found, unread = read_lake(lake, load_declarations())
    assert unread == []
    return found


@pytest.fixture
def facts(settings: Settings) -> Facts:
    """Facts of a home with one event, in which nothing is wrong."""
    write(settings.lake, NOON)
    return gather(settings, load_declarations(), now=NOW)


def titles(facts: Facts) -> list[str]:
    return [problem.title for problem in problems_of(facts)]


def test_events_are_counted_by_day_with_the_late_ones(tmp_path: Path) -> None:
    write(tmp_path, NOON - 86_400_000, NOON, NOON + 1)
    write(tmp_path, NOON, late=True, name="part-1")
    events = counted(tmp_path).events
    assert events.by_day == {"2025-03-02": 1, "2025-03-03": 3}
    assert events.late_by_day == {"2025-03-02": 0, "2025-03-03": 1}
    assert (events.rows, events.files, events.late) == (4, 3, 1)
    assert events.newest == datetime(2025, 3, 3, 12, 0, 0, 1_000, UTC)


def test_files_that_are_being_written_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, NOON)
    write(tmp_path, NOON, name=".part-1.inprogress")
    write(tmp_path, NOON, name="_part-2")
    assert counted(tmp_path).events.rows == 1


def test_a_broken_file_is_named_and_the_others_count(settings: Settings) -> None:
    write(settings.lake, NOON)
    broken = settings.lake / "events" / "dt=2025-03-03" / "hour=12" / "part-9"
    broken.write_bytes(b"PAR1 but no more")
    facts = gather(settings, load_declarations(), now=NOW)
    assert facts.lake.events is not None
    assert facts.lake.events.rows == 1
    assert titles(facts) == ["1 file of events cannot be read"]
    assert str(broken) in problems_of(facts)[0].detail


def test_groups_views_and_open_sessions_are_counted(tmp_path: Path) -> None:
    declared = load_declarations()
    session, daily = declared.plan("session"), declared.plan("track_daily")
    rows = [
        {"user_id": user, "event_timestamp_ms": NOON, "session_start": start} for user, start in (("a", 1), ("b", None))
    ]
    write_rows(tmp_path, session, rows)
    write_rows(tmp_path, daily, [{"track_id": "t", "event_timestamp_ms": NOON}])
    write_rows(tmp_path, daily, [{"track_id": "u", "event_timestamp_ms": NOON}])
    lake = counted(tmp_path)
    assert lake.speed["session"].rows == 2
    assert lake.speed["session"].newest == datetime(2025, 3, 3, 12, tzinfo=UTC)
    assert lake.open_sessions == 1
    assert lake.views["track_daily"].by_day == {"2025-03-03": 2}


def test_rows_that_a_delta_table_no_longer_has_do_not_count(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    table = tmp_path / "views" / "track_daily"
    for rows in (5, 2):
        write_deltalake(table, pa.table({"track_id": ["t"] * rows, "dt": ["2025-03-03"] * rows}), mode="overwrite")
    assert counted(tmp_path).views["track_daily"].rows == 2


def test_a_lake_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    lake = counted(tmp_path / "none")
    assert lake.events is None
    assert lake.tables == {}


def test_a_published_mark_is_read(tmp_path: Path) -> None:
    mark = {"dt": "2025-03-02", "end": "2025-03-03T00:00:00+00:00", "at": NOW.isoformat(), "days": ["2025-03-02"]}
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "_published.json").write_text(json.dumps(mark | {"fingerprints": {"track_daily": "f"}}))
    published = counted(tmp_path).published
    assert published.end == datetime(2025, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize("text", ["{ no json", "[]", '{"at": "2025-03-04T12:00:00+00:00", "read": "many"}'])
def test_a_result_that_cannot_be_read_is_said_and_the_others_are_read(settings: Settings, text: str) -> None:
    results.save(settings, "serve", {"requests": 5, "vectors": {"sent": 5}})
    (settings.home / "results" / "writer.json").write_text(text)
    stages = read_stages(settings)
    assert list(stages.problems) == ["writer"]
    assert stages.serve is not None
    assert stages.serve.requests == 5
    assert titles(gather(settings, load_declarations(), now=NOW)) == ["Result writer cannot be read"]


def test_a_result_of_a_later_version_may_hold_more(settings: Settings) -> None:
    results.save(settings, "serve", {"requests": 5, "vectors": {}, "mood": "good"})
    assert read_stages(settings).problems == {}


def test_a_result_that_the_page_does_not_know_still_has_its_time(settings: Settings) -> None:
    results.save(settings, "drift", {"anything": 1}, now=NOW)
    assert read_stages(settings).saved == {"drift": NOW}


def test_nothing_is_wrong_where_nothing_is(facts: Facts) -> None:
    assert titles(facts) == []
    assert titles(replace(facts, kafka=KAFKA, flink=Flink(job=RUNNING))) == []


@pytest.mark.parametrize(
    ("job", "title"),
    [
        (None, "The speed job is not running"),
        (replace(RUNNING, state="RESTARTING"), "The speed job is RESTARTING"),
        (replace(RUNNING, restarts=2, failure="it broke"), "The speed job was restarted 2 times"),
        (replace(RUNNING, checkpoint=NOW - timedelta(minutes=2)), "Checkpoints have stopped"),
    ],
)
def test_a_job_that_does_not_work_is_wrong(facts: Facts, job: Job | None, title: str) -> None:
    (problem,) = problems_of(replace(facts, flink=Flink(job=job)))
    assert problem.title == title
    assert problem.stage is Stage.JOB


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"dead_letters": DeadLetters(records=11, read=11, repeated=0, reasons=())}, "1.1% of the records are dead"),
        (
            {"topics": {"playback-events": 5}, "dead_letters": DeadLetters(records=5, read=5, repeated=5, reasons=())},
            None,
        ),
        (
            {"lags": (Lag(group="playhead-online-writer", topic="feature-rows", records=10_001),)},
            "playhead-online-writer",
        ),
        ({"topics": {"playback-events": 1_000, "feature-rows": 10_001}}, "No online writer has run"),
        ({"topics": {"playback-events": 10}}, "The lake has more than was sent"),
    ],
)
def test_what_kafka_shows_is_judged(facts: Facts, change: dict[str, Any], title: str | None) -> None:
    found = titles(replace(facts, kafka=replace(KAFKA, **change)))
    assert found[:1] == [] if title is None else found[0].startswith(title)


@pytest.mark.parametrize(
    "change",
    [
        {"lake_rows": 8, "adds_up": False},
        {"dlq": {"malformed": 2}, "adds_up": False},
        {"records": 12},
        {"duplicates": 2},
    ],
)
def test_counts_that_do_not_add_up_are_wrong(settings: Settings, change: dict[str, Any]) -> None:
    sound = {"records": 11, "events": 9, "duplicates": 1, "dead_letters": {"malformed": 1}}
    sound |= {"lake_rows": 9, "late": 0, "dlq": {"malformed": 1}, "adds_up": True}
    results.save(settings, "accounts", sound)
    assert "The counts do not add up" not in titles(gather(settings, load_declarations(), now=NOW))
    results.save(settings, "accounts", sound | change)
    assert "The counts do not add up" in titles(gather(settings, load_declarations(), now=NOW))


def test_a_part_that_crashed_is_wrong(facts: Facts) -> None:
    part = PartStatus(name="kafka", state="crashed", pid=None, address="a:1", detail="process 7 is gone", log=None)
    assert titles(replace(facts, parts=(part,))) == ["kafka does not answer"]


def test_views_may_be_two_days_behind_and_of_the_declaration_of_now(facts: Facts) -> None:
    def published(dt: int, **fingerprints: str) -> Facts:
        end = datetime(2025, 3, dt, tzinfo=UTC) + timedelta(days=1)
        mark = Published(dt=f"2025-03-{dt:02}", end=end, at=NOW, fingerprints=fingerprints, days=())
        return replace(facts, lake=replace(facts.lake, published=mark))

    now = load_declarations().plan("track_daily").fingerprint
    assert titles(published(1, track_daily=now)) == []
    assert titles(replace(published(1), made_at=NOW + timedelta(days=9))) == [], (
        "events, not the clock, are the measure"
    )
    assert titles(published(1, track_daily="other")) == ["Views were published with another declaration"]
    february = published(1)
    assert february.lake.published is not None
    mark = replace(february.lake.published, dt="2025-02-28", end=datetime(2025, 3, 1, tzinfo=UTC))
    assert titles(replace(facts, lake=replace(facts.lake, published=mark))) == ["Daily views are 2 days behind"]


@pytest.mark.parametrize(
    ("name", "payload", "title"),
    [
        (
            "writer",
            {"read": 2, "rows": {"written": 1, "malformed": 1}, "seconds": 1},
            "Feature rows could not be written",
        ),
        ("serve", {"requests": 1, "vectors": {"sent": 2, "dropped": 1}}, "Served vectors were not logged"),
        ("land_served", {"landed": {}, "repeated": 0, "skipped": {"malformed": 1}}, "Served vectors were not landed"),
        ("backfill", {"groups": {"track": {"points": 9, "different": 3}}}, "Backfill and archive differ"),
    ],
)
def test_what_a_stage_lost_is_wrong(settings: Settings, name: str, payload: dict[str, Any], title: str) -> None:
    results.save(settings, name, payload)
    (found,) = titles(gather(settings, load_declarations(), now=NOW))
    assert found.startswith(title)


@pytest.mark.parametrize("change", [{"interrupted": True}, {"not_sent": {"larger_than_the_broker_takes": 1}}])
def test_a_replay_that_did_not_send_all_is_wrong(settings: Settings, change: dict[str, Any]) -> None:
    sound = {"rows": 0, "skipped": {}, "problems": [], "events": 1, "sent": 1, "not_sent": {}, "seconds": 1}
    results.save(settings, "replay", sound | {"interrupted": False} | change)
    (problem,) = problems_of(gather(settings, load_declarations(), now=NOW))
    assert problem.stage is Stage.REPLAY


def test_a_source_that_fails_leaves_its_part_empty(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from playhead import stack
    from playhead.errors import StackError

    def refuse(_: Settings) -> list[PartStatus]:
        raise StackError("cannot look")

    monkeypatch.setattr(stack, "status", refuse)
    facts = gather(settings, load_declarations(), now=NOW)
    assert facts.kafka is None
    assert titles(facts) == ["stack cannot be read"]
