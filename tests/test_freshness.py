"""How far each part is behind: by event time, against the settings; what cannot be measured is a missed objective."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from playhead.checks import freshness
from playhead.checks.freshness import MEASURED, Look, State, check_freshness, measure, newest_event_ms
from playhead.checks.readings import standings
from playhead.cli import app
from playhead.config import MetricsSettings, Settings
from playhead.errors import InputError, StackError
from playhead.ingest.trace import Tracer
from playhead.metrics import metrics_text, serve_metrics
from playhead.objectives import FreshnessSettings
from playhead.published import Published, write_mark
from playhead.report.facts import DeadLetters, Kafka, Lag, Reason
from playhead.serving import events_tail
from playhead.serving.events_tail import Tail, read_tails
from playhead.serving.lander import Behind
from playhead.serving.topic import Bounds
from playhead.speed import cluster
from playhead.speed.cluster import JobStatus
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER, encode
from tests.conftest import free_ports
from tests.lake import write_events
from tests.polling import eventually
from tests.prometheus import names_of, promtool, samples_of

NOON_MS = 1_741_003_200_000
"""2025-03-03T12:00:00Z, years ago."""
NOTHING = Kafka(topics={}, lags=(), dead_letters=DeadLetters(records=0, read=0, repeated=0, reasons=()))
LANDED = Behind(0, 0.0)


def job(**values: Any) -> JobStatus:
    now_ms = round(time.time() * 1_000)
    defaults = {"job_id": "j", "state": "RUNNING", "watermark_ms": NOON_MS - 1_000, "checkpoint_ms": now_ms}
    return JobStatus(**defaults | {"restarts": 0, "failure": None} | values)


@dataclass
class Sources:
    """What Kafka, Flink, the writer and the lander say; an error is raised."""

    tails: Any = field(default_factory=lambda: {0: Tail(end=9, newest_ms=NOON_MS, newest_event_ms=NOON_MS)})
    kafka: Any = NOTHING
    job: Any = field(default_factory=job)
    behind: Any = LANDED


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Sources:
    found = Sources()

    def says(name: str) -> Any:
        value = getattr(found, name)
        if isinstance(value, Exception):
            raise value
        return value

    monkeypatch.setattr(freshness, "read_tails", lambda _settings: says("tails"))
    monkeypatch.setattr(freshness, "read_kafka", lambda _kafka: says("kafka"))
    monkeypatch.setattr(cluster, "find", lambda _settings: says("job"))
    monkeypatch.setattr(freshness, "behind", lambda _settings: says("behind"))
    return found


def measured(settings: Settings) -> dict[tuple[str, str], Any]:
    return {(each.subject, each.measure): each for each in measure(Look(settings)).readings}


def allowing(settings: Settings, **values: Any) -> Settings:
    return settings.model_copy(update={"freshness": FreshnessSettings(**values)})


def put_event(settings: Settings, time_ms: int) -> None:
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    row = {"event_id": str(time_ms), "user_id": "u", "event_type": "PLAY", "event_time_ms": time_ms}
    write_events(settings.lake, [row | {"track_id": "t", "content_type": "SONG"}], name=str(time_ms))
    assert (settings.lake / "events" / f"dt={moment:%Y-%m-%d}").is_dir()


def test_in_a_replay_of_the_past_lags_are_of_event_time(settings: Settings, sources: Sources) -> None:
    put_event(settings, NOON_MS - 20_000)
    found = measured(settings)
    assert found["lake", "lag_s"].value == 20
    assert found["watermark", "lag_s"].value == 1
    assert found["lake", "lag_s"].ok and found["watermark", "lag_s"].ok
    assert found["events", "age_s"].value > 86_400 and found["events", "age_s"].ok


def test_what_is_further_behind_than_allowed_is_missed_and_what_comes_close_is_told(
    settings: Settings, sources: Sources
) -> None:
    put_event(settings, NOON_MS - 20_000)

    def state(allowed_s: int) -> State:
        found = measure(Look(allowing(settings, lake=timedelta(seconds=allowed_s))))
        return next(found.state(each) for each in found.readings if (each.subject, each.measure) == ("lake", "lag_s"))

    assert [state(allowed_s) for allowed_s in (10, 22, 60)] == [State.BAD, State.WARN, State.OK]


def test_the_age_of_the_topic_counts_where_events_are_of_now(settings: Settings, sources: Sources) -> None:
    found = measured(allowing(settings, events=timedelta(minutes=10)))
    assert not found["events", "age_s"].ok


def test_a_lake_without_events_is_behind_a_topic_that_has_some(settings: Settings, sources: Sources) -> None:
    lag = measured(settings)["lake", "lag_s"]
    assert (lag.value, lag.ok, lag.detail) == (None, False, "no event is in the lake")


def test_a_topic_without_events_leaves_nothing_behind(settings: Settings, sources: Sources) -> None:
    sources.tails = {0: Tail(end=0)}
    assert {subject for subject, name in measured(settings) if name == "lag_s"} == {"served_log"}


def test_a_source_that_does_not_answer_is_missed_and_the_others_are_measured(
    settings: Settings, sources: Sources
) -> None:
    sources.job = StackError("Flink does not answer")
    found = measured(settings)
    missed = {subject: each.detail for (subject, name), each in found.items() if name == MEASURED and not each.ok}
    assert missed.keys() == {"watermark", "job", "checkpoint", "online"}
    assert missed["job"] == "Flink does not answer"
    assert found["lake", MEASURED].ok and found["served_log", MEASURED].ok


def test_a_job_that_does_not_run_and_an_old_checkpoint_are_missed(settings: Settings, sources: Sources) -> None:
    sources.job = None
    assert not measured(settings)["job", "running"].ok
    sources.job = job(state="RESTARTING", checkpoint_ms=NOON_MS)
    found = measured(settings)
    assert found["job", "running"].detail == "the speed job is RESTARTING"
    assert not found["checkpoint", "age_s"].ok


def test_consumer_groups_and_the_served_log_are_held_against_their_own_limits(
    settings: Settings, sources: Sources
) -> None:
    lags = tuple(Lag(group=name, topic="t", records=count) for name, count in {"slow": 101, "fast": 100}.items())
    sources.kafka, sources.behind = Kafka(topics={}, lags=lags, dead_letters=sources.kafka.dead_letters), Behind(7, 400)
    found = measured(allowing(settings, consumer_records=100))
    assert (found["slow", "records"].ok, found["fast", "records"].ok) == (False, True)
    assert (found["served_log", "lag_s"].ok, found["served_log", "lag_s"].detail) == (
        False,
        "7 records have not landed",
    )


def test_the_batch_is_behind_the_newest_event_by_what_is_not_published(settings: Settings, sources: Sources) -> None:
    put_event(settings, NOON_MS)
    first = measured(settings)["batch", "lag_s"]
    assert (first.value, first.detail) == (12 * 3_600, "no day is published")
    (settings.lake / "views").mkdir()
    day = date(2025, 2, 27)
    write_mark(settings.lake, Published(days=(day,), at=datetime.now(UTC), fingerprints={}, covered={}))
    lag = measured(settings)["batch", "lag_s"]
    assert (lag.value, lag.ok, lag.detail) == (3.5 * 86_400, False, "the last published day is 2025-02-27")


def test_the_newest_event_is_of_the_last_hour_that_has_files(settings: Settings) -> None:
    assert newest_event_ms(settings.lake) is None
    for time_ms in (NOON_MS, NOON_MS + 5_000, NOON_MS - 7_200_000):
        put_event(settings, time_ms)
    day = settings.lake / "events" / "dt=2025-03-03"
    (day / "hour=23").mkdir()
    (day / "hour=23" / ".being-written").touch()
    assert newest_event_ms(settings.lake) == NOON_MS + 5_000


def test_what_is_found_is_kept(settings: Settings, sources: Sources) -> None:
    found = check_freshness(settings)
    kept = {each.reading.about: each.reading.ok for each in standings(settings, ["freshness"])}
    assert kept == {each.about: each.ok for each in found.readings}
    assert json.loads(json.dumps(found.to_json()))["ok"] is False


# --- the end of the topic ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A record as of confluent-kafka."""

    time_ms: int
    payload: bytes | None
    header: Mapping[str, bytes] = field(default_factory=dict)

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time_ms

    def value(self) -> bytes | None:
        return self.payload

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self.header.items())


def event(time_ms: int) -> Record:
    values = {"event_id": "e", "user_id": "u", "event_type": "SEARCH", "event_time_ms": time_ms, "content_type": "SONG"}
    return Record(time_ms, encode(values))


def tail_of(settings: Settings, monkeypatch: pytest.MonkeyPatch, *records: Record) -> Tail:
    monkeypatch.setattr(events_tail, "last_records", lambda *_: list(records))
    monkeypatch.setattr(events_tail, "bounds_of", lambda *_: {0: Bounds(0, len(records))})
    [tail] = read_tails(settings).values()
    return tail


def test_heartbeats_and_dead_letters_are_records_but_no_events(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = Record(NOON_MS + 2_000, None, {HEARTBEAT_HEADER: b"1", CLOCK_HEADER: str(NOON_MS).encode()})
    broken = Record(NOON_MS + 1_000, b"\x07")
    tail = tail_of(settings, monkeypatch, event(NOON_MS), event(NOON_MS - 5), broken, beat)
    assert (tail.end, tail.newest_ms, tail.newest_event_ms) == (4, NOON_MS + 2_000, NOON_MS)
    assert tail.clock == str(NOON_MS).encode()


def test_a_record_ahead_of_its_clock_is_not_the_newest(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Record(NOON_MS + 3_600_000, event(NOON_MS + 3_600_000).payload, {CLOCK_HEADER: str(NOON_MS).encode()})
    tail = tail_of(settings, monkeypatch, event(NOON_MS), ahead)
    assert (tail.newest_ms, tail.newest_event_ms) == (NOON_MS, NOON_MS)


def test_an_empty_partition_has_no_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tail_of(settings, monkeypatch) == Tail(end=0)


# --- what a trace sends ------------------------------------------------------------------------------------------


class Producer:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[SimpleNamespace] = []

    def produce(self, topic: str, value: bytes | None, **fields: Any) -> None:
        self.sent.append(SimpleNamespace(topic=topic, value=value, **fields))

    def flush(self, _seconds: float) -> int:
        return 0


def traced(settings: Settings, monkeypatch: pytest.MonkeyPatch, tails: Mapping[int, Tail], *, beats: bool) -> list[Any]:
    from playhead.ingest import trace

    monkeypatch.setattr(trace, "read_tails", lambda _settings: tails)
    producer = Producer()
    for number in range(2):
        Tracer(settings, producer, beats=beats).send(number)
    return producer.sent


def test_a_traced_event_moves_no_time_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = str(NOON_MS).encode()
    tails = {0: Tail(end=5, newest_ms=NOON_MS, clock=clock), 1: Tail(end=5, newest_ms=NOON_MS - 400)}
    sent = traced(settings, monkeypatch, tails, beats=False)
    assert [(one.partition, one.timestamp, one.key) for one in sent] == [
        (0, NOON_MS, "playhead-trace-0"),
        (1, NOON_MS - 400, "playhead-trace-1"),
    ]
    assert [one.headers for one in sent] == [[(CLOCK_HEADER, clock)], []]


def test_where_nobody_sends_a_trace_brings_the_heartbeats_that_end_its_second(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tails = {0: Tail(end=5, newest_ms=NOON_MS), 1: Tail(end=0)}
    sent = traced(settings, monkeypatch, tails, beats=True)
    beats = [(one.partition, one.timestamp) for one in sent if one.value is None]
    assert beats == [(partition, NOON_MS + 2_001) for _ in range(2) for partition in (0, 1)]
    assert all((HEARTBEAT_HEADER, b"1") in one.headers for one in sent if one.value is None)


def test_a_topic_without_records_takes_no_trace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no record"):
        traced(settings, monkeypatch, {0: Tail(end=0)}, beats=True)


# --- what Prometheus sees ----------------------------------------------------------------------------------------


def test_what_checks_found_and_how_far_parts_are_behind_is_shown_to_prometheus(
    settings: Settings, sources: Sources
) -> None:
    put_event(settings, NOON_MS - 20_000)
    sources.job = job(state="RESTARTING", restarts=3)
    reasons = (Reason(name="malformed", records=4, newest=None, example="t/0/1"),)
    letters = DeadLetters(records=4, read=4, repeated=0, reasons=reasons)
    sources.kafka = Kafka(topics={}, lags=(Lag(group="g", topic="t", records=5),), dead_letters=letters)
    check_freshness(settings)
    text = metrics_text(settings).decode()
    linted = promtool("check", "metrics", given=text)
    assert (linted.returncode, linted.stdout) == (0, "")
    found = samples_of(text)
    about = {"check": "freshness", "subject": "job", "measure": "running"}
    assert found["playhead_check_ok", frozenset(about.items())] == 0
    assert time.time() - found["playhead_check_since_timestamp_seconds", frozenset(about.items())] < 60
    assert found["playhead_lag_seconds", frozenset({("subject", "lake")})] == 20
    assert found["playhead_lag_seconds_allowed", frozenset({("subject", "lake")})] == 60
    assert found["playhead_lag_records", frozenset({("subject", "g")})] == 5
    assert found["playhead_dead_letters", frozenset({("reason", "malformed")})] == 4
    assert found["playhead_job_running", frozenset()] == 0
    assert found["playhead_job_restarts_total", frozenset()] == 3


def test_a_source_that_does_not_answer_is_shown_as_down_and_its_metrics_are_gone(
    settings: Settings, sources: Sources
) -> None:
    sources.job = sources.kafka = StackError("away")
    text = metrics_text(settings).decode()
    found = samples_of(text)
    down = {dict(labels)["source"] for (name, labels), up in found.items() if name == "playhead_source_up" and not up}
    of_kafka = {"kafka", "events", "lake", "watermark", "consumer_groups", "served_log"}
    assert down == of_kafka | {"flink", "job", "checkpoint", "online"}
    assert "playhead_job_running" not in names_of(text)


def test_metrics_are_served_until_told_to_stop(settings: Settings, sources: Sources) -> None:
    [port] = free_ports(1)
    own = settings.model_copy(update={"metrics": MetricsSettings(port=port)})
    stop, address = Event(), f"http://127.0.0.1:{port}/metrics"
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve_metrics, own, stop)
        try:
            assert eventually(lambda: serving.done() or answers(port), 30)
            assert "playhead_job_running" in names_of(httpx.get(address, trust_env=False, timeout=30).text)
            with pytest.raises(StackError, match=r"metrics\.port"):
                serve_metrics(own, stop)
        finally:
            stop.set()
            serving.result(30)
    assert not answers(port)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# --- the command -------------------------------------------------------------------------------------------------


def test_the_exit_code_says_whether_an_objective_is_missed(
    settings: Settings, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_SUBJECTS", {"job": freshness._SUBJECTS["job"]})
    good = CliRunner().invoke(app, ["check", "freshness", "--home", str(settings.home)])
    assert (good.exit_code, good.stdout.split()[-4:]) == (0, ["job", "running", "1", "ok"])
    sources.job = None
    bad = CliRunner().invoke(app, ["check", "freshness", "--json", "--home", str(settings.home)])
    assert bad.exit_code == 1
    [running, _] = json.loads(bad.stdout)["measures"]
    assert (running["subject"], running["state"], running["detail"]) == ("job", "bad", "the speed job is not running")
