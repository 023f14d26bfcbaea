"""Replay: what is sent, when, and with which heartbeats."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest

from playhead.config import KafkaSettings, Settings
from playhead.errors import ConfigError, StackError
from playhead.ingest import replay as replay_module
from playhead.ingest.generator import GeneratorConfig
from playhead.ingest.replay import Pace, ReplaySummary, replay
from playhead.ingest.source import Record, Source, file_source
from playhead.ingest.truth import generated_source
from schemas.decode import decode

START_MS = 1_541_000_000_000
YEAR_2099_MS = 4_070_908_800_000
SETTINGS = Settings(home=Path("home"))
LATENESS_MS = 1_000


class FakeKafka:
    """A producer that keeps what it is given, and a clock that goes on only while the producer waits."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.messages: list[SimpleNamespace] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={2: None, 0: None, 1: None})})

    def produce(self, topic: str, value: bytes | None, **fields: Any) -> None:
        fields.setdefault("partition", crc32(fields.get("key") or b"") % 3)
        self.messages.append(SimpleNamespace(topic=topic, value=value, at_s=self.now_s - 100, **fields))

    def poll(self, seconds: float) -> None:
        self.now_s += seconds

    def flush(self, _seconds: float) -> int:
        return 0

    @property
    def events(self) -> list[SimpleNamespace]:
        return [message for message in self.messages if message.value is not None]

    @property
    def heartbeats(self) -> list[SimpleNamespace]:
        return [message for message in self.messages if message.value is None]


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    fake = FakeKafka()
    monkeypatch.setattr(replay_module, "producer_of", lambda _settings, *, paced: fake)
    return fake


def records(*times_ms: int) -> Source:
    return Source(
        records=[Record(b"u", str(at).encode(), START_MS + at) for at in times_ms], clock_ms=START_MS + max(times_ms)
    )


def run(kafka: FakeKafka, source: Source, **values: Any) -> ReplaySummary:
    return replay(source, SETTINGS, now_s=lambda: kafka.now_s, **values)


def test_records_keep_their_order_key_and_time_and_carry_the_sources_clock(kafka: FakeKafka) -> None:
    summary = run(kafka, records(0, 5, 3))
    assert [(m.topic, m.value, m.key, m.timestamp - START_MS) for m in kafka.events] == [
        ("playback-events", b"0", b"u", 0),
        ("playback-events", b"5", b"u", 5),
        ("playback-events", b"3", b"u", 3),
    ]
    assert all(m.headers == [("playhead-clock", str(START_MS + 5).encode())] for m in kafka.events)
    assert (summary.events, summary.sent, summary.not_sent) == (3, 3, {})
    assert (summary.first_event_ms, summary.last_event_ms) == (START_MS, START_MS + 5)


def test_it_ends_with_a_heartbeat_just_past_the_last_event_in_every_partition(kafka: FakeKafka) -> None:
    summary = run(kafka, records(0, 5))
    assert kafka.messages[2:] == kafka.heartbeats
    assert [(m.partition, m.timestamp - START_MS) for m in kafka.heartbeats] == [
        (partition, 5 + LATENESS_MS + 1_001) for partition in (0, 1, 2)
    ]
    assert kafka.heartbeats[0].headers == [("playhead-clock", str(START_MS + 5).encode()), ("playhead-heartbeat", b"1")]
    assert summary.heartbeats == 3


def test_a_clock_years_ahead_moves_neither_the_pace_nor_the_heartbeats(kafka: FakeKafka) -> None:
    broken = Record(b"u", b"x", YEAR_2099_MS)
    good = [Record(b"u", b"1", START_MS), Record(b"u", b"2", START_MS + 2_000)]
    source = Source(records=[broken, good[0], broken, good[1], broken], clock_ms=START_MS + 2_000)
    summary = run(kafka, source, pace=Pace(speedup=1))
    assert [round(m.at_s, 3) for m in kafka.events] == [0, 0, 0, 2, 2]
    assert {m.timestamp for m in kafka.events if m.value == b"x"} == {YEAR_2099_MS}
    assert max(m.timestamp for m in kafka.heartbeats) == START_MS + 2_000 + LATENESS_MS + 1_001
    assert summary.last_event_ms == START_MS + 2_000


def test_a_rate_spaces_records_evenly(kafka: FakeKafka) -> None:
    run(kafka, records(*range(5)), pace=Pace(rate=2))
    assert [round(m.at_s, 3) for m in kafka.events] == [0, 0.5, 1, 1.5, 2]


def test_with_a_rate_a_heartbeat_a_second_says_how_far_it_is(kafka: FakeKafka) -> None:
    run(kafka, records(0, 100, 200, 300), pace=Pace(rate=1))
    beats = [(round(m.at_s, 3), m.timestamp - START_MS) for m in kafka.heartbeats if m.partition == 0]
    assert beats == [(1, 0), (2, 100), (3, 200), (3, 300 + LATENESS_MS + 1_001)]


def test_a_speedup_keeps_the_pace_of_event_time_and_beats_through_silence(kafka: FakeKafka) -> None:
    run(kafka, records(0, 60_000, 240_000), pace=Pace(speedup=60))
    assert [round(m.at_s, 3) for m in kafka.events] == [0, 1, 4]
    beats = [(round(m.at_s, 3), m.timestamp - START_MS) for m in kafka.heartbeats if m.partition == 0]
    assert beats[:-1] == [(1, 60_000), (2, 120_000), (3, 180_000), (4, 240_000)]


def test_without_a_pace_only_the_last_heartbeats_are_sent(kafka: FakeKafka) -> None:
    assert run(kafka, records(*range(0, 100_000_000, 1_000_000))).heartbeats == 3


@pytest.mark.parametrize("pace", [Pace(rate=200), Pace(speedup=3_600), Pace(speedup=50_000), Pace()])
def test_heartbeats_never_put_a_disturbed_event_behind_the_watermark(kafka: FakeKafka, pace: Pace) -> None:
    config = GeneratorConfig(users=60, tracks=100, days=1, late=0.1, out_of_order=0.1, malformed=0.02)
    with generated_source(config) as (source, _):
        run(kafka, source, pace=pace)
    newest_ms: Counter[int] = Counter()
    for message in kafka.messages:
        if message.timestamp > config.end_ms + 300_000:
            continue
        if message.value is not None:
            assert message.timestamp > newest_ms[message.partition] - LATENESS_MS
        newest_ms[message.partition] = max(message.timestamp, newest_ms[message.partition])


def test_an_interrupt_ends_it_with_a_summary_and_without_the_last_heartbeats(kafka: FakeKafka) -> None:
    def interrupted() -> Iterator[Record]:
        yield Record(b"u", b"1", START_MS)
        raise KeyboardInterrupt

    summary = run(kafka, Source(records=interrupted(), clock_ms=START_MS))
    assert (summary.sent, summary.heartbeats, summary.interrupted) == (1, 0, True)


def test_progress_is_told(kafka: FakeKafka) -> None:
    told: list[tuple[int, int | None]] = []
    run(kafka, records(*range(1_200)), progress=lambda sent, at_ms: told.append((sent, at_ms)))
    assert told == [(500, START_MS + 499), (1_000, START_MS + 999), (1_200, START_MS + 1_199)]


def test_a_record_that_the_broker_finds_too_large_is_counted_and_another_error_is_raised(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka import KafkaError, KafkaException

    def refuse(code: int) -> Callable[..., None]:
        def produce(_topic: str, value: bytes | None, **_fields: Any) -> None:
            if value == b"1":
                raise KafkaException(KafkaError(code))

        return produce

    monkeypatch.setattr(kafka, "produce", refuse(KafkaError.MSG_SIZE_TOO_LARGE))
    summary = run(kafka, records(0, 1, 2))
    assert (summary.events, summary.sent, summary.not_sent) == (3, 2, {"larger_than_the_broker_takes": 1})
    monkeypatch.setattr(kafka, "produce", refuse(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(StackError, match=r"127\.0\.0\.1:19092 did not take a record for playback-events"):
        run(kafka, records(0, 1, 2))


@pytest.mark.parametrize("values", [{"rate": 0}, {"speedup": -1}, {"rate": float("nan")}, {"rate": 1, "speedup": 1}])
def test_a_pace_that_is_none_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Pace(**values)


def test_kafka_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "_ANSWER_SECONDS", 0.2)
    with pytest.raises(StackError, match=r"127\.0\.0\.1:1 does not answer.*playhead up"):
        replay(records(0), Settings(home=Path("home"), kafka=KafkaSettings(port=1)))


@pytest.fixture
def topic(stack: Settings) -> Settings:
    """The stack with an events topic of this test's own."""
    from playhead.stack.kafka import create_topics

    kafka = stack.kafka.model_copy(update={"events_topic": f"replay-{uuid4()}"})
    create_topics(kafka)
    return stack.model_copy(update={"kafka": kafka})


def messages_of(settings: Settings) -> list[Any]:
    """Everything in the events topic, partition by partition."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    conf = {"group.id": str(uuid4()), "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({**settings.kafka.client(), **conf})
    topic = settings.kafka.events_topic
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(settings.kafka.partitions)])
    found: list[Any] = []
    ended = 0
    while ended < settings.kafka.partitions:
        (message,) = consumer.consume(1, timeout=30) or [None]
        if message is None:
            raise TimeoutError(f"{len(found)} messages, then nothing")
        if message.error() is None:
            found.append(message)
        else:
            ended += 1
    consumer.close()
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


@pytest.mark.stack
def test_what_kafka_holds_after_a_file_was_replayed_twice(topic: Settings, tmp_path: Path) -> None:
    from kafka.partitioner.default import murmur2

    song = {"page": "NextSong", "artist": "a", "song": "s", "length": 5.0}
    lines = [{"ts": START_MS + i * 1_000, "userId": str(i % 7), **song} for i in range(300)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    for _ in range(2):
        source = file_source([path], "eventsim", latest_ms=YEAR_2099_MS)
        assert replay(source, topic).sent == 600
    messages = messages_of(topic)
    events = [message for message in messages if message.value() is not None]
    rows = [decode(message.value(), latest_ms=YEAR_2099_MS, max_bytes=65_536) for message in events]
    assert (len(events), len({row[0] for row in rows})) == (1_200, 600)
    for message, row in zip(events, rows, strict=True):
        assert message.timestamp()[1] == row[5]
        assert message.key().decode() == row[1]
        assert message.partition() == (murmur2(message.key()) & 0x7FFFFFFF) % topic.kafka.partitions
        assert message.headers() == [("playhead-clock", str(source.clock_ms).encode())]
    heartbeats = [message for message in messages if message.value() is None]
    assert Counter(message.partition() for message in heartbeats) == dict.fromkeys(range(topic.kafka.partitions), 2)
    assert {message.timestamp()[1] for message in heartbeats} == {source.clock_ms + LATENESS_MS + 1_001}
    assert {codec_of(file) for file in log_files(topic)} == {"gzip"}


def log_files(settings: Settings) -> list[Path]:
    return list((settings.home / "kafka" / "data").glob(f"{settings.kafka.events_topic}-*/*.log"))


def codec_of(log: Path) -> str:
    """The codec of a segment's first batch: the low bits of the attributes, at byte 21 of Kafka's record batch."""
    (attributes,) = struct.unpack_from(">h", log.read_bytes(), 21)
    return ("none", "gzip", "snappy", "lz4", "zstd")[attributes & 7]


@pytest.mark.stack
def test_huge_messages_and_clocks_years_ahead_reach_the_topic(topic: Settings) -> None:
    odd = [
        Record(b"u", b"1", START_MS),
        Record(b"u", b"x" * 10_000_000, START_MS),
        Record(b"u", b"x" * 17_000_000, START_MS),
        Record(None, b"", YEAR_2099_MS),
        Record(b"u", b"2", START_MS + 1),
    ]
    summary = replay(Source(records=odd, clock_ms=START_MS + 1), topic)
    assert (summary.sent, summary.not_sent) == (4, {"larger_than_the_broker_takes": 1})
    events = [m for m in messages_of(topic) if m.value() is not None]
    assert sorted((len(m.value()), m.timestamp()[1]) for m in events) == [
        (0, YEAR_2099_MS),
        (1, START_MS),
        (1, START_MS + 1),
        (10_000_000, START_MS),
    ]


@pytest.mark.stack
def test_the_command_sends_made_up_events_and_prints_their_truth(stack: Settings, tmp_path: Path) -> None:
    options = ["--users", "5", "--days", "1", "--duplicates", "0.1", "--malformed", "0.1"]
    place = ["--truth", str(tmp_path / "truth"), "--home", str(stack.home), "--json"]
    command = [sys.executable, "-c", "from playhead.cli import main; main()", "replay", "--generate"]
    result = subprocess.run([*command, *options, *place], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["sent"] == summary["truth"]["records"] > summary["truth"]["events"] > 0
    assert (stack.lake / "dimensions" / "track.arrow").exists()
    assert json.loads((tmp_path / "truth" / "summary.json").read_text()) == summary["truth"]
