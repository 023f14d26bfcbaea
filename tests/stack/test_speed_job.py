"""The speed job on real Kafka and Flink: whatever arrives and whatever breaks, its outputs are those of the events.

The job is started three times for all of these tests: for everything that can arrive, which ends with a crash; to go on
from a savepoint; and in two subtasks on RocksDB.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from playhead import oracle
from playhead import stack as local_stack
from playhead.checks.freshness import MEASURED, Freshness, check_freshness
from playhead.columns import Column
from playhead.compile import compile_group
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.declare import Aggregate, FeatureGroup, days
from playhead.ingest.catalogue import make_catalogue, write_catalogue
from playhead.ingest.generator import GeneratorConfig
from playhead.ingest.replay import Pace, replay
from playhead.ingest.source import Record, Source
from playhead.ingest.trace import PREFIX
from playhead.ingest.truth import Truth, generated_source
from playhead.merge import Partials, merge
from playhead.metrics import metrics_text
from playhead.plan import DailyPlan, SessionPlan
from playhead.pushed import PUSHED
from playhead.relations import DAY_MS, T_MS, milliseconds
from playhead.serving.dimension_table import load_dimension, read_dimension
from playhead.serving.serve_metrics import ServerMetrics
from playhead.serving.served_log import open_served_log
from playhead.serving.writer import run_writer
from playhead.speed import cluster
from playhead.speed.decode import KEPT_BYTES
from schemas.decode import encode
from schemas.playback_pb2 import PlaybackEvent
from schemas.tables import event_columns
from tests.polling import PATIENCE, eventually
from tests.prometheus import alerts, metrics_in, names_of, queries
from tests.stack import reading
from tests.stack.poison import KEY, Poison, event, poison, send_poison
from tests.stack.topics import own_topics

pytestmark = pytest.mark.stack

HOUR_MS = 3_600_000
LATENESS_MS = 1_000
RATE = 250.0
PLANS = {plan.name: plan for plan in load_declarations().speed_plans}
FAULTY = GeneratorConfig(
    users=50, tracks=60, days=2, seed=5, duplicates=0.02, late=0.01, out_of_order=0.02, malformed=0.005
)
BROKEN_OFF = GeneratorConfig(users=60, tracks=60, days=1, seed=6, start=date(2025, 3, 5), duplicates=0.02, late=0.01)


@dataclass(frozen=True)
class Given:
    """Generated records, and what must come out."""

    records: list[Record]
    clock_ms: int
    truth: Truth
    events: pa.Table

    def source(self, start: int = 0, end: int | None = None) -> Source:
        return Source(records=self.records[start:end], clock_ms=self.clock_ms)

    @property
    def middle(self) -> int:
        """Where the records can be cut: the heartbeat that ends a replay makes nothing late that comes after it."""
        times = [record.time_ms for record in self.records]
        earliest = list(accumulate(reversed(times), min))[::-1]
        beaten = [newest + LATENESS_MS + 1_001 for newest in accumulate(times, max)]
        return next(i for i in range(len(times) // 2, len(times)) if earliest[i] > beaten[i - 1])


@dataclass(frozen=True)
class Outputs:
    """All that the job wrote, and how it was when it had."""

    status: cluster.JobStatus
    events: pa.Table
    rows: dict[str, pa.Table]
    topic_rows: dict[str, pa.Table]
    sessions: list[dict[str, Any]]
    dead_letters: list[reading.DeadLetter]

    @property
    def watermark_ms(self) -> int:
        assert self.status.watermark_ms is not None
        return self.status.watermark_ms


def generated(config: GeneratorConfig, folder: Path) -> Given:
    with generated_source(config, truth=folder) as (source, truth):
        records = list(source.records)
    return Given(records, source.clock_ms, truth, pq.read_table(folder / "events.parquet"))


def track_file(home: Path) -> Path:
    """The catalogue, but for every third track; from the second day on every other track has another genre."""
    file = home / "tracks.parquet"
    write_catalogue(make_catalogue(FAULTY.tracks, FAULTY.seed), file)
    rows = [row for i, row in enumerate(pq.read_table(file).to_pylist()) if i % 3]
    second_day = FAULTY.start_ms + DAY_MS
    later = [row | {"genre": "polka", "valid_from": second_day} for row in rows[::2]]
    first = [row | {"valid_from": FAULTY.start_ms - DAY_MS} for row in rows]
    pq.write_table(pa.Table.from_pylist([*first, *later]), file)
    return file


@pytest.fixture(scope="module")
def tracks(settings: Settings) -> dict[str, pa.Table]:
    """The rows of the dimension."""
    return {"track": read_dimension(settings.lake, load_declarations().dimension("track"))}


def outputs(settings: Settings, status: cluster.JobStatus) -> Outputs:
    """All that is there now."""
    return Outputs(
        status=status,
        events=reading.lake_events(settings),
        rows={name: reading.archived_rows(settings, plan) for name, plan in PLANS.items()},
        topic_rows={name: reading.topic_rows(settings, plan) for name, plan in PLANS.items()},
        sessions=reading.closed_sessions(settings),
        dead_letters=reading.dead_letters(settings),
    )


@pytest.fixture(scope="module")
def settings(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    own = own_topics(stack, tmp_path_factory.mktemp("speed") / "home")
    load_dimension(own, load_declarations(), "track", [track_file(own.home)])
    yield own
    cluster.stop(own)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return generated(FAULTY, tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return generated(BROKEN_OFF, tmp_path_factory.mktemp("broken-off"))


@pytest.fixture(scope="module")
def poisons() -> list[Poison]:
    return list(poison(FAULTY.end_ms + HOUR_MS))


@pytest.fixture(scope="module")
def arrived(settings: Settings, faulty: Given, poisons: list[Poison]) -> Outputs:
    """What came of a file with faults, the same file again, poison, and events that are late."""
    cluster.start(settings)
    replay(faulty.source(), settings)
    replay(faulty.source(), settings)
    send_poison(settings, poisons, FAULTY.end_ms + HOUR_MS)
    after_ms = FAULTY.end_ms + 2 * HOUR_MS
    newest = [Record(KEY, encode(event("newest", after_ms)), after_ms)]
    behind = {"behind a day": 24 * HOUR_MS, "behind": LATENESS_MS, "not quite behind": LATENESS_MS - 1}
    late = [Record(KEY, encode(event(name, after_ms - ms)), after_ms - ms) for name, ms in behind.items()]
    replay(Source(records=[*newest, *late, *late], clock_ms=after_ms), settings)
    return outputs(settings, cluster.wait_until_read(settings, after_ms))


@pytest.fixture(scope="module")
def survived(stack: Settings, settings: Settings, arrived: Outputs, broken_off: Given) -> Outputs:
    """What has come of half a file in whose midst the TaskManager was killed, when the job is stopped."""
    half, sent_some = broken_off.middle, Event()

    def progress(sent: int, _time_ms: int | None) -> None:
        if sent >= half // 2:
            sent_some.set()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(replay, broken_off.source(0, half), settings, pace=Pace(rate=RATE), progress=progress)
        assert sent_some.wait(PATIENCE)
        kill_task_manager(stack)
        local_stack.start(stack)
        last_ms = sending.result(PATIENCE).last_event_ms
    assert last_ms is not None
    status = cluster.wait_until_read(settings, last_ms)
    assert cluster.stop(settings) is not None
    return outputs(settings, status)


def kill_task_manager(stack: Settings) -> None:
    def task_manager() -> local_stack.PartStatus:
        return next(part for part in local_stack.status(stack) if part.name == "taskmanager")

    pid = task_manager().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: task_manager().pid is None)


@pytest.fixture(scope="module")
def went_on(settings: Settings, survived: Outputs, broken_off: Given) -> Outputs:
    """What has come of the other half, whose first event is late, after a start from the savepoint."""
    half = broken_off.middle
    cluster.start(settings)
    late_ms = broken_off.records[0].time_ms - HOUR_MS
    late = [Record(KEY, encode(event("late after the start", late_ms)), late_ms)]
    replay(Source(records=late, clock_ms=broken_off.clock_ms), settings)
    last_ms = replay(broken_off.source(half), settings).last_event_ms
    assert last_ms is not None
    return outputs(settings, cluster.wait_until_read(settings, last_ms))


@pytest.fixture(scope="module")
def two_subtasks(
    stack: Settings, settings: Settings, went_on: Outputs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """The settings of a job in two subtasks on RocksDB."""
    cluster.stop(settings)
    home = tmp_path_factory.mktemp("parallel") / "home"
    own = own_topics(stack, home, parallelism=2, state_backend="rocksdb")
    load_dimension(own, load_declarations(), "track", [track_file(own.home)])
    cluster.start(own)
    yield own
    cluster.stop(own)


@pytest.fixture(scope="module")
def in_parallel(two_subtasks: Settings, faulty: Given) -> Outputs:
    """What comes of the file with faults, and of plays of one moment, in two subtasks on RocksDB."""
    own = two_subtasks
    faulty_ms = replay(faulty.source(), own).last_event_ms
    assert faulty_ms is not None
    after = Source(records=ties(faulty_ms + HOUR_MS), clock_ms=faulty.clock_ms + 2 * HOUR_MS)
    last_ms = replay(after, own).last_event_ms
    assert last_ms is not None
    return outputs(own, cluster.wait_until_read(own, last_ms))


def ties(at_ms: int) -> list[Record]:
    """A hundred seconds; in each, eight plays of one listener in one millisecond, whose order is that of Kafka."""
    moments = [at_ms + 1_000 * second for second in range(100) for _ in range(8)]
    plays = [event(f"tie {i}", moment, track_id=f"t{i}") for i, moment in enumerate(moments)]
    return [Record(KEY, encode(play), play["event_time_ms"]) for play in plays]


MOMENTS = pytest.mark.parametrize("moment", ["arrived", "survived", "went_on", "in_parallel"])


@pytest.fixture
def found(moment: str, request: pytest.FixtureRequest) -> Outputs:
    """The outputs at one of the moments."""
    value: Outputs = request.getfixturevalue(moment)
    return value


def on_time(events: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = events.filter(pc.invert(events["late"])).to_pylist()
    return rows


def ids(events: pa.Table) -> list[str]:
    return sorted(events["event_id"].to_pylist())


def ids_of(payloads: Iterable[bytes]) -> set[str]:
    return {PlaybackEvent.FromString(payload).event_id for payload in payloads}


LATE_EVENTS = ["behind", "behind a day"]


def test_faults_neither_stop_nor_restart_the_job(arrived: Outputs) -> None:
    assert (arrived.status.state, arrived.status.restarts, arrived.status.failure) == ("RUNNING", 0, None)


def test_every_generated_event_is_in_the_lake_with_all_its_columns(arrived: Outputs, faulty: Given) -> None:
    columns = list(event_columns())
    generated_ids = pc.is_in(arrived.events["event_id"], value_set=faulty.events["event_id"].combine_chunks())
    kept = arrived.events.filter(generated_ids)
    assert kept.select(columns).sort_by("event_id").equals(faulty.events.select(columns).sort_by("event_id"))
    assert not any(kept["late"].to_pylist())


def test_beside_them_are_the_events_among_the_poison_and_the_late_ones(
    arrived: Outputs, faulty: Given, poisons: list[Poison]
) -> None:
    own = {"newest", "behind", "behind a day", "not quite behind"}
    own |= ids_of(one.value for one in poisons if one.reason is None and one.value is not None)
    assert set(ids(arrived.events)) - set(ids(faulty.events)) == own
    assert arrived.events.num_rows == faulty.truth.events + len(own)


def test_a_dead_letter_has_its_reason_and_the_bytes_of_its_record(
    settings: Settings, arrived: Outputs, faulty: Given, poisons: list[Poison]
) -> None:
    expected = Counter(one.reason for one in poisons if one.reason is not None)
    # The file was sent twice: a broken message has no identity, its copy is one more.
    expected.update({reason: 2 * n for reason, n in faulty.truth.dead_letters.items()})
    assert Counter(letter.reason for letter in arrived.dead_letters) == expected
    topic = settings.kafka.events_topic
    sent = {(m.partition(), m.offset()): m.value() or b"" for m in reading.records(settings, topic)}
    for letter in arrived.dead_letters:
        assert letter.topic == topic
        assert letter.payload == sent[letter.partition, letter.offset][:KEPT_BYTES], letter.reason


def test_every_record_is_an_event_a_duplicate_a_dead_letter_or_a_heartbeat(
    settings: Settings, arrived: Outputs, faulty: Given, poisons: list[Poison]
) -> None:
    beats = sum(one.value is None and one.reason is None for one in poisons)
    sent = 2 * len(faulty.records) + len(poisons) - beats + len(LATE_EVENTS) * 2 + 2 + 1
    duplicates = 2 * faulty.truth.duplicates + faulty.truth.events + 3
    assert sent == arrived.events.num_rows + duplicates + len(arrived.dead_letters)


def test_late_is_what_comes_behind_its_partition_by_the_allowed_lateness(arrived: Outputs, went_on: Outputs) -> None:
    late = arrived.events.filter(arrived.events["late"])
    assert ids(late) == LATE_EVENTS
    late = went_on.events.filter(went_on.events["late"])
    assert ids(late) == sorted([*LATE_EVENTS, "late after the start"])


@MOMENTS
@pytest.mark.parametrize("group", PLANS)
def test_feature_rows_are_those_of_duckdb_up_to_the_watermark(
    moment: str, group: str, found: Outputs, tracks: dict[str, pa.Table]
) -> None:
    expected = reading.expected_rows(PLANS[group], found.events, tracks, found.watermark_ms)
    assert found.rows[group].num_rows > 100
    assert found.rows[group].equals(expected)


@MOMENTS
@pytest.mark.parametrize("group", PLANS)
def test_the_topic_has_the_rows_of_the_archive(moment: str, group: str, found: Outputs) -> None:
    assert found.topic_rows[group].equals(found.rows[group])


@MOMENTS
def test_no_count_is_ever_negative(moment: str, found: Outputs) -> None:
    for rows in found.rows.values():
        for name, kind in zip(rows.column_names, rows.schema.types, strict=True):
            assert not pa.types.is_integer(kind) or (pc.min(rows[name]).as_py() or 0) >= 0, name


@MOMENTS
@pytest.mark.parametrize("plan", load_declarations().daily_plans, ids=lambda plan: plan.name)
def test_partials_of_a_day_are_the_oracles_windows_of_one_day(
    moment: str, plan: DailyPlan, found: Outputs, tracks: dict[str, pa.Table]
) -> None:
    rng, declared = random.Random(8), load_declarations().group(plan.name)
    counted = tuple(replace(f, over=days(1)) for f in declared.features if isinstance(f, Aggregate))
    one_day = FeatureGroup(name="one_day", entity=declared.entity, enrich=declared.enrich, features=counted)
    key, own = declared.entity.key, compile_group(one_day)
    assert isinstance(own, DailyPlan)
    events = oracle.enriched(one_day, on_time(found.events), {"track": tracks["track"].to_pylist()})
    for row in rng.sample(found.rows[plan.today.name].to_pylist(), 15):
        entity, _, day_ms = row[key].rpartition("|")
        # The next midnight belongs to another day.
        if row[T_MS] < int(day_ms) + DAY_MS:
            values = oracle.values_at(one_day, events, entity, row[T_MS])
            assert merged_alone(own, row, int(day_ms)) == values


def merged_alone(plan: DailyPlan, row: dict[str, Any], day_ms: int) -> dict[str, Any]:
    """The windows of one day from its partials."""
    none, day = np.array([], np.int64), np.array([day_ms])
    batch = Partials(none, none, {m.name: Column.nulls(0, m.kind.to_pyarrow()) for m in plan.measures})
    values = {m.name: Column.of_list([row[m.name]], m.kind.to_pyarrow()) for m in plan.measures}
    speed = Partials(np.array([0]), day, values)
    (values,) = merge(plan, np.array([row[T_MS]]), day - DAY_MS, day, batch, speed).values.to_pylist()
    return dict(values)


@MOMENTS
@pytest.mark.parametrize("group", [g.name for g in load_declarations().groups if g.name in PLANS])
def test_as_of_random_moments_they_are_the_oracles(
    moment: str, group: str, found: Outputs, tracks: dict[str, pa.Table]
) -> None:
    """Twice the plan would err in the same way on both engines; the oracle reads the declaration alone."""
    rng, declared = random.Random(7), load_declarations().group(group)
    events = oracle.enriched(declared, on_time(found.events), {"track": tracks["track"].to_pylist()})
    rows = found.rows[group].to_pylist()
    for row in rng.sample(rows, 15):
        entity, later = row[declared.entity.key], rng.choice([0, 1_000, HOUR_MS])
        stamp_ms = min(row[T_MS] + later, found.watermark_ms)
        (held,) = [r for r in rows if r[declared.entity.key] == entity and r[T_MS] <= stamp_ms][-1:]
        values = oracle.values_at(declared, events, entity, stamp_ms)
        assert {name: held[name] for name in values} == values, (entity, stamp_ms)


def test_some_of_the_tracks_that_were_heard_are_known_and_some_are_not(arrived: Outputs) -> None:
    (newest,) = (arrived.rows["listener"]["valence_last_20"],)
    assert 0 < newest.null_count < len(newest) / 2


@MOMENTS
def test_sessions_are_those_of_the_rule_closed_or_still_open(moment: str, found: Outputs) -> None:
    plan = PLANS["session"]
    assert isinstance(plan, SessionPlan)
    gap_ms = milliseconds(plan.gap)
    expected = oracle.sessions(on_time(found.events), plan.key, gap_ms)
    # A session ends in the second that holds its last moment, and is known to have when that second has passed.
    ended = [s for s in expected if (s[-1]["event_time_ms"] + gap_ms) // 1_000 * 1_000 + 999 <= found.watermark_ms]
    assert [_bounds(row) for row in found.sessions] == sorted(map(_session, ended))
    last = {row[plan.key]: row for row in found.rows["session"].to_pylist()}
    live = {(user, row[plan.start]) for user, row in last.items() if row[plan.start] is not None}
    assert live == {(s[0][plan.key], s[0]["event_time_ms"]) for s in expected if s not in ended}
    assert live


def _session(events: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    kinds = Counter(e["event_type"] for e in events)
    heard_ms = sum(e["ms_played"] for e in events if e["event_type"] in ("SKIP", "COMPLETE", "STOP"))
    bounds = (events[0]["user_id"], events[0]["event_time_ms"], events[-1]["event_time_ms"])
    return (*bounds, len(events), kinds["PLAY"], kinds["SKIP"], heard_ms)


def _bounds(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("user_id", "session_start_ms", "session_end_ms", "events")
    return tuple(row[name] for name in (*names, "session_plays", "session_skips", "session_listen_ms"))


def test_after_a_kill_every_event_is_in_the_lake_once(survived: Outputs, arrived: Outputs, broken_off: Given) -> None:
    assert survived.status.restarts > 0
    half = broken_off.records[: broken_off.middle]
    assert ids(survived.events) == sorted([*ids(arrived.events), *ids_of(record.value for record in half)])


def test_after_a_stop_and_a_start_every_event_is_in_the_lake_once(
    went_on: Outputs, arrived: Outputs, broken_off: Given
) -> None:
    all_ids = [*ids(arrived.events), *ids(broken_off.events), "late after the start"]
    assert ids(went_on.events) == sorted(all_ids)


def test_two_subtasks_write_every_event_once(in_parallel: Outputs, faulty: Given) -> None:
    assert ids(in_parallel.events) == sorted([*ids(faulty.events), *(f"tie {i}" for i in range(800))])
    assert not any(in_parallel.events["late"].to_pylist())
    assert in_parallel.status.restarts == 0


def test_no_row_is_written_before_its_time_and_none_twice(went_on: Outputs, survived: Outputs) -> None:
    for group, plan in PLANS.items():
        for seen in (survived, went_on):
            rows = seen.rows[group]
            assert pc.max(rows[T_MS]).as_py() <= seen.watermark_ms + 1
            assert rows.group_by([plan.key, T_MS]).aggregate([]).num_rows == rows.num_rows


# --- on call: after all outputs were read, because a trace is in the data ------------------------------------------


@pytest.fixture(scope="module")
def watched(two_subtasks: Settings, in_parallel: Outputs) -> Iterator[tuple[Settings, Freshness]]:
    """The job's settings, while an online writer runs; and what was measured with two traced events."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(run_writer, two_subtasks, stop)
        try:
            yield two_subtasks, check_freshness(two_subtasks, traced=2)
        finally:
            stop.set()
            writing.result(60)


def test_a_traced_event_is_seen_in_the_lake_and_online(watched: tuple[Settings, Freshness]) -> None:
    settings, found = watched
    seconds = {(each.subject, each.measure): each.value for each in found.readings}
    for subject in ("lake", "online"):
        assert 0 < seconds[subject, "p50_s"] <= seconds[subject, "p99_s"] < 60
    assert [each.detail for each in found.readings if each.measure == MEASURED and not each.ok] == []
    assert seconds["job", "running"] == 1
    traced = [row for row in reading.lake_events(settings).to_pylist() if row["user_id"].startswith(PREFIX)]
    assert [(row["event_type"], row["track_id"], row["late"]) for row in traced] == [("SEARCH", None, False)] * 2


def test_a_trace_makes_no_other_event_late_and_changes_no_other_value(
    watched: tuple[Settings, Freshness], in_parallel: Outputs, tracks: dict[str, pa.Table]
) -> None:
    settings, _ = watched
    events, plan = reading.lake_events(settings), PLANS["track"]
    assert not any(events["late"].to_pylist())
    watermark_ms = in_parallel.watermark_ms
    after = reading.archived_rows(settings, plan)
    before = after.filter(pc.less_equal(after[T_MS], watermark_ms + 1))
    assert before.equals(in_parallel.rows[plan.name])
    assert after.equals(reading.expected_rows(plan, events, tracks, pc.max(after[T_MS]).as_py()))


def test_rules_and_dashboards_name_metrics_that_are_there(stack: Settings, watched: tuple[Settings, Freshness]) -> None:
    settings, _ = watched
    assert stack.flink.metrics_port is not None
    ports = (settings.serve.writer_metrics_port, stack.flink.metrics_port, stack.flink.metrics_port + 1)
    registry = CollectorRegistry()
    with open_served_log(settings.kafka, registry):
        texts = [ServerMetrics(registry).text(), metrics_text(settings)]
    texts += [httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).content for port in ports]
    there = {name for text in texts for name in names_of(text.decode())} | {"up", *PUSHED}
    named = {f"{alert}: {rule['expr']}": metrics_in(rule["expr"]) for alert, rule in alerts().items()}
    named |= {where: metrics_in(query) for where, query in queries().items()}
    assert {where: names - there for where, names in named.items() if names - there} == {}
