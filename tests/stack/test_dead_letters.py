"""Dead letters on a real broker and a real job: each message has its place, and a replay sends each once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from playhead.checks.accounts import check_accounts
from playhead.cli import app
from playhead.config import PROJECT, Settings
from playhead.dlq.letters import Letter, Selection, read_letters
from playhead.dlq.replay import Replayed, replay_letters
from playhead.dlq.summary import count_letters
from playhead.dlq.wire import read_fields
from playhead.errors import StackError
from playhead.ingest.replay import replay
from playhead.ingest.source import Record, Source
from playhead.relations import milliseconds
from playhead.speed import cluster
from schemas.decode import decode, encode
from schemas.playback_pb2 import PlaybackEvent
from tests.stack import reading
from tests.stack.fuzz import KINDS, Fuzzed, fuzzed, send_fuzzed
from tests.stack.poison import event
from tests.stack.topics import own_topics

pytestmark = pytest.mark.stack

AT_MS = 1_741_089_600_000
HOUR_MS = 3_600_000
MESSAGES = 10_000
SMALL_BYTES = 600
LARGE_BYTES = 65_536
COPIES = 100

KILLED = """
import os, sys
from confluent_kafka import Producer
from playhead.config import load_settings
from playhead.dlq import replay

class Killed(Producer):
    def commit_transaction(self, *args):
        Killed.left -= 1
        if Killed.left or sys.argv[2] == "after":
            super().commit_transaction(*args)
        if not Killed.left:
            os._exit(9)

Killed.left = int(sys.argv[1])
replay.Producer, replay.BATCH_LETTERS = Killed, int(sys.argv[3])
replay.replay_letters(load_settings())
"""


def replay_killed(settings: Settings, commits: int, moment: str, batch: int) -> None:
    """A replay in a process that dies before or after its n-th commit, without a word to the broker."""
    argv = [sys.executable, "-c", KILLED, str(commits), moment, str(batch)]
    done = subprocess.run(argv, env={**os.environ, **settings.environment()}, timeout=120, check=False)
    assert done.returncode == 9


def write_letters(settings: Settings, *letters: tuple[str, int, bytes], clock_ms: int | None = None) -> None:
    """Dead letters as the job writes them: reason, offset in partition 0 of the events topic, bytes; a second apart."""
    from confluent_kafka import Producer

    producer = Producer(settings.kafka.client())
    headers = [] if clock_ms is None else [("playhead-clock", str(clock_ms).encode())]
    for number, (reason, offset, payload) in enumerate(letters):
        key = {"reason": reason, "topic": settings.kafka.events_topic, "partition": 0, "offset": offset}
        producer.produce(
            settings.kafka.dead_letter_topic,
            payload,
            key=json.dumps(key).encode(),
            partition=0,
            timestamp=AT_MS + 1_000 * number,
            headers=headers,
        )
    assert producer.flush(30) == 0


def play(name: str, **values: Any) -> bytes:
    return encode(event(name, AT_MS - 1_000, user_id=f"of {name}") | values)


def committed(settings: Settings) -> list[Any]:
    """The events of the topic, heartbeats aside."""
    return [record for record in reading.records(settings, settings.kafka.events_topic) if record.value() is not None]


def sent_ids(settings: Settings) -> list[str]:
    return sorted(PlaybackEvent.FromString(record.value()).event_id for record in committed(settings))


def reading_up_to(max_bytes: int, settings: Settings) -> Settings:
    stream = settings.stream.model_copy(update={"max_message_bytes": max_bytes})
    return settings.model_copy(update={"stream": stream})


@dataclass(frozen=True)
class Run:
    """What was sent to a running job, and what it was when all of it was read.

    Attributes:
        settings: the job's.
        sent: each message by its partition and offset.
        status: the job's.
        letters: the dead letters by partition and offset.
        lake_ids: the events of the lake, each as often as it is there.
    """

    settings: Settings
    sent: Mapping[tuple[int, int], Fuzzed]
    status: cluster.JobStatus
    letters: Mapping[tuple[int, int], reading.DeadLetter]
    lake_ids: Counter[str]


def read_by_job(settings: Settings, sent: Mapping[tuple[int, int], Fuzzed], at_ms: int) -> Run:
    """What there is after one more event, with which time goes on in every partition."""
    last = Record(b"last", encode(event(f"last {at_ms}", at_ms, user_id="last")), at_ms)
    replay(Source(records=[last], clock_ms=at_ms), settings)
    status = cluster.wait_until_read(settings, at_ms)
    letters = reading.dead_letters(settings)
    found = {(letter.partition, letter.offset): letter for letter in letters}
    assert len(found) == len(letters)
    ids = reading.lake_events(settings)["event_id"].to_pylist()
    return Run(settings, sent, status, found, Counter(each for each in ids if not each.startswith("last ")))


def judged(run: Run, max_bytes: int) -> dict[tuple[int, int], str | int | None]:
    """By place the reason, or the event's id, in the decoder's own words."""
    latest_ms = AT_MS + milliseconds(run.settings.stream.clock_skew)
    rows = {at: decode(m.value or b"", latest_ms=latest_ms, max_bytes=max_bytes) for at, m in run.sent.items()}
    return {at: (f"!{row}" if isinstance(row, str) else row[0]) for at, row in rows.items()}


ONE_FEATURE = """
from ibis import _

from playhead.declare import Count, Entity, FeatureGroup, sliding

user = Entity(name="user", key="user_id")
plays = Count("plays", where=_.event_type == "PLAY", over=sliding("1m"))
GROUPS = (FeatureGroup(name="listener", entity=user, features=(plays,)),)
SERVICES = ()
ON_DEMAND = ()
"""


def small_project(folder: Path) -> Path:
    """A project with one feature: what is refused does not depend on them, and the job starts in a part of the time."""
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "__init__.py").write_text(ONE_FEATURE)
    for name in ("jars", "jobs", "lambda", "schemas"):
        (folder / name).symlink_to(PROJECT / name)
    return folder


@pytest.fixture(scope="module")
def refused(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Fuzzed messages, the last of them sent twice, before a job that reads small messages only."""
    folder = tmp_path_factory.mktemp("dead-letters")
    own = own_topics(stack, folder / "home").model_copy(update={"project": small_project(folder / "project")})
    own = reading_up_to(SMALL_BYTES, own)
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
    print(f"FUZZ_SEED={seed}")
    messages = list(fuzzed(random.Random(seed), MESSAGES - COPIES, AT_MS, SMALL_BYTES))
    cluster.start(own)
    try:
        yield read_by_job(own, send_fuzzed(own, messages + messages[-COPIES:], AT_MS), AT_MS + HOUR_MS)
    finally:
        cluster.stop(own)


@pytest.fixture(scope="module")
def fixed(refused: Run) -> tuple[Run, Replayed]:
    """After the limit was raised, the job went on from its savepoint, and a replay was killed and run again, twice."""
    own = reading_up_to(LARGE_BYTES, refused.settings)
    cluster.stop(own)
    cluster.start(own)
    planned = replay_letters(own, dry_run=True)
    replay_killed(own, 3, "before", 500)
    rest = replay_letters(own)
    assert replay_letters(own).sent.total() == 0
    assert (rest.done_before, rest.letters, rest.invalid) == (1_000, planned.letters, planned.invalid)
    return read_by_job(own, refused.sent, AT_MS + 2 * HOUR_MS), planned


def test_the_messages_are_of_every_kind(refused: Run) -> None:
    counts = Counter(message.kind for message in refused.sent.values())
    assert counts.keys() == KINDS.keys()
    assert counts.total() == MESSAGES
    assert min(counts.values()) > MESSAGES // 10


def test_no_message_stops_or_restarts_the_job(refused: Run, fixed: tuple[Run, Replayed]) -> None:
    assert (refused.status.state, refused.status.restarts, refused.status.failure) == ("RUNNING", 0, None)
    # Flink counts the start from the savepoint as the one restore.
    assert (fixed[0].status.state, fixed[0].status.restarts, fixed[0].status.failure) == ("RUNNING", 1, None)


def test_each_message_is_a_dead_letter_with_its_reason_or_an_event_of_the_lake(refused: Run) -> None:
    fates = judged(refused, SMALL_BYTES)
    letters = {at: f"!{letter.reason}" for at, letter in refused.letters.items()}
    assert letters == {at: fate for at, fate in fates.items() if str(fate).startswith("!")}
    assert refused.lake_ids == Counter({fate for fate in fates.values() if not str(fate).startswith("!")})
    for at, letter in refused.letters.items():
        assert letter.payload == (refused.sent[at].value or b"")


def test_what_it_is_to_be_malformed_or_too_large_is_no_word_of_the_decoders(refused: Run) -> None:
    """Its own parser may err; one that was written apart from it says the same of each message."""
    for at, message in refused.sent.items():
        reason = refused.letters[at].reason if at in refused.letters else None
        payload = message.value or b""
        assert (reason == "too_large") == (len(payload) > SMALL_BYTES) == (message.kind == "oversize")
        if len(payload) <= SMALL_BYTES:
            assert (reason == "malformed") == (read_fields(payload).problem is not None), payload.hex()
        if not payload:
            assert reason == "missing_field:event_id"


def test_after_the_fix_what_can_be_recovered_is_in_the_lake_exactly_once(fixed: tuple[Run, Replayed]) -> None:
    run, planned = fixed
    ids = {fate for fate in judged(run, LARGE_BYTES).values() if not str(fate).startswith("!")}
    assert run.lake_ids == Counter(ids)
    assert planned.sent.keys() == {"too_large"}
    assert planned.sent["too_large"] > MESSAGES // 10


def test_what_cannot_be_recovered_stays_with_its_reason(refused: Run, fixed: tuple[Run, Replayed]) -> None:
    run, planned = fixed
    assert run.letters == refused.letters
    stay = Counter(
        str(fate).removeprefix("!") for fate in judged(run, LARGE_BYTES).values() if str(fate).startswith("!")
    )
    assert planned.invalid == stay
    assert planned.letters == len(run.letters)


def test_the_accounts_hold_after_the_fix_too(fixed: tuple[Run, Replayed]) -> None:
    accounts = check_accounts(fixed[0].settings)
    assert accounts.dlq == accounts.dead_letters
    assert accounts.adds_up


@pytest.fixture
def own(stack: Settings, tmp_path: Path) -> Settings:
    """The stack's Kafka, with topics of this test's own; no job reads them."""
    return own_topics(stack, tmp_path / "home")


def test_a_valid_letter_is_sent_once_as_ingest_sends_it(own: Settings) -> None:
    write_letters(
        own, ("too_large", 1, play("a")), ("malformed", 2, b"\x07"), ("too_large", 1, play("a")), clock_ms=AT_MS
    )
    done = replay_letters(own)
    assert (done.sent, done.invalid, done.letters) == ({"too_large": 1}, {"malformed": 1}, 2)
    (record,) = committed(own)
    assert (record.key(), record.value(), record.timestamp()[1]) == (b"of a", play("a"), AT_MS - 1_000)
    assert record.headers() == [("playhead-clock", str(AT_MS).encode())]
    again = replay_letters(own)
    assert (again.sent.total(), again.done_before, again.letters) == (0, 1, 2)
    assert sent_ids(own) == ["a"]


def test_the_last_record_of_a_partition_is_one_that_readers_are_given(own: Settings) -> None:
    """Else who waits until the job has read to the end waits for ever."""
    from confluent_kafka import Consumer, TopicPartition

    write_letters(own, ("too_large", 1, play("a")))
    replay_letters(own)
    (record,) = committed(own)
    partition = TopicPartition(own.kafka.events_topic, record.partition())
    consumer = Consumer(own.kafka.client() | {"group.id": "tests"})
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    consumer.close()
    beats = [each for each in reading.records(own, own.kafka.events_topic) if each.value() is None]
    assert [(b.partition(), b.offset(), b.timestamp()[1]) for b in beats] == [
        (record.partition(), end - 1, record.timestamp()[1])
    ]


@pytest.mark.parametrize(("moment", "there"), [("before", ["e0", "e1"]), ("after", ["e0", "e1", "e2", "e3"])])
def test_a_replay_that_is_killed_at_a_commit_is_finished_by_the_next(
    own: Settings, moment: str, there: list[str]
) -> None:
    write_letters(own, *(("too_large", number, play(f"e{number}")) for number in range(7)))
    replay_killed(own, 2, moment, 2)
    done = replay_letters(own)
    assert (done.done_before, done.sent.total()) == (len(there), 7 - len(there))
    assert sent_ids(own) == [f"e{number}" for number in range(7)]
    assert replay_letters(own).sent.total() == 0


def test_a_replay_is_ended_by_one_that_starts_later(own: Settings) -> None:
    write_letters(own, *(("too_large", number, play(f"e{number}")) for number in range(3)))
    letters: list[Letter] = []

    def overtaken(read: int, _total: int) -> None:
        if read == 1:
            letters.extend(read_letters(own.kafka))
            assert replay_letters(own).sent.total() == 3

    with pytest.raises(StackError, match="run it again"):
        replay_letters(own, progress=overtaken)
    assert len(letters) == 3
    assert sent_ids(own) == ["e0", "e1", "e2"]


def test_an_event_that_is_in_the_lake_or_that_another_letter_had_is_not_doubled(own: Settings) -> None:
    folder = own.lake / "events" / "dt=2025-01-01" / "hour=00"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"event_id": ["sent again by its producer"]}), folder / "part-1")
    names = ["sent again by its producer", "twice", "twice", "once"]
    write_letters(own, *(("too_large", number, play(name)) for number, name in enumerate(names)))
    done = replay_letters(own)
    assert (done.in_lake, done.same_event, done.sent.total(), done.letters) == (1, 1, 2, 4)
    assert replay_letters(own).done_before == 4
    assert sent_ids(own) == ["once", "twice"]


def test_a_dry_run_sends_nothing_and_says_what_a_run_will(own: Settings) -> None:
    write_letters(own, ("too_large", 1, play("a")), ("malformed", 2, b"\x07"))
    planned = replay_letters(own, dry_run=True)
    assert committed(own) == []
    assert planned.to_json() | {"dry_run": False} == replay_letters(own).to_json()


def test_a_repair_makes_right_what_it_can(own: Settings) -> None:
    write_letters(
        own, ("missing_field:user_id", 1, play("a", user_id=None)), ("malformed", 2, b"\x07"), ("x", 3, play("b"))
    )

    def give_user(payload: bytes) -> bytes | None:
        return payload + encode({"user_id": "u"}) if payload[:1] == b"\x0a" else None

    done = replay_letters(own, repair=give_user)
    assert (done.repaired, done.sent.total(), done.invalid) == (1, 2, {"malformed": 1})
    assert {record.key() for record in committed(own)} == {b"u", b"of b"}


def test_letters_are_counted_by_reason_and_time_and_repeats_apart(own: Settings) -> None:
    good, bad = play("a"), b"\x07"
    write_letters(own, ("malformed", 1, bad), ("too_large", 2, good), ("malformed", 1, bad), ("malformed", 3, bad))
    replay_letters(own)
    malformed, large = (count.to_json() for count in count_letters(own.kafka))
    assert malformed == {
        "reason": "malformed",
        "letters": 2,
        "repeats": 1,
        "replayed": 0,
        "first": "2025-03-04T12:00:00.000Z",
        "last": "2025-03-04T12:00:03.000Z",
        "example": f"{own.kafka.events_topic}-0@3",
    }
    assert (large["letters"], large["replayed"]) == (1, 1)
    since = datetime.fromtimestamp(AT_MS / 1_000 + 1, UTC)
    within = Selection(since=since, until=since + timedelta(seconds=2))
    assert [(c.reason, c.letters) for c in count_letters(own.kafka, within)] == [("malformed", 1), ("too_large", 1)]
    assert count_letters(own.kafka, Selection(since=since + timedelta(days=1))) == ()


def test_the_commands_list_show_and_replay(own: Settings) -> None:
    write_letters(own, ("malformed", 1, play("a")[:-1]), ("too_large", 2, play("b")))

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["dlq", *words], env=own.environment())

    def json_of(*words: str) -> Any:
        lines = run(*words, "--json").output.splitlines()  # after log lines, which only `main` sends elsewhere
        return json.loads("\n".join(dropwhile(lambda line: line not in ("{", "["), lines)))

    assert "2 letters, of which 0 were replayed" in run("list").output
    listed = json_of("list", "--reason", "malformed")
    assert [(each["reason"], each["letters"]) for each in listed["reasons"]] == [("malformed", 1)]
    shown = run("show", listed["reasons"][0]["example"]).output
    assert "event_id (1)" in shown and "the message ends within a number" in shown
    assert [each["today"] for each in json_of("show", "0:2")] == ["valid"]
    assert run("show", "0:3").exit_code == 1
    assert ["would", "be", "sent", "1"] in [line.split() for line in run("replay", "--dry-run").output.splitlines()]
    assert json_of("replay")["sent"] == {"too_large": 1}
    assert "1 were replayed" in run("list").output


def test_an_event_that_an_earlier_replay_has_sent_for_another_letter_is_not_sent_again(own: Settings) -> None:
    write_letters(own, ("too_large", 1, play("a")))
    replay_letters(own)
    write_letters(own, ("too_large", 2, play("a")), ("too_large", 3, play("b")))
    done = replay_letters(own)
    assert (done.done_before, done.same_event, done.sent.total()) == (1, 1, 1)
    assert sent_ids(own) == ["a", "b"]
