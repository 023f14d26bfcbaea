"""The online writer's loop: write, then commit; wait outages out; give up only when asked to."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

import ibis
import orjson
import pytest
from structlog.testing import capture_logs

from playhead.errors import StackError
from playhead.serving.kafka_errors import ErrorLog
from playhead.serving.online import OnlineStore, Written
from playhead.serving.packed import Packer
from playhead.serving.topic import TopicReader
from playhead.serving.writer import Writer, WriterMetrics

PACKER = Packer("track", [("plays", ibis.dtype("int64"))], "00112233445566ff")


@dataclass(frozen=True)
class Record:
    body: bytes | None

    def value(self) -> bytes | None:
        return self.body

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000


@dataclass
class Topic:
    """A topic in memory, and in `happened` what the writer did, in order."""

    batches: list[list[Record]]
    happened: list[str] = field(default_factory=list)
    behind: dict[int, int] = field(default_factory=dict)

    def poll(self, _limit: int, _seconds: float) -> list[Record]:
        return self.batches.pop(0) if self.batches else []

    @property
    def caught_up(self) -> bool:
        return not self.batches

    def commit(self) -> bool:
        self.happened.append("commit")
        return True

    def lag(self) -> dict[int, int]:
        return self.behind


@dataclass
class Store:
    """A store that fails as often as told, then takes everything."""

    happened: list[str]
    failures: int = 0

    def write_many(self, rows: list[tuple[str, str, bytes]]) -> Written:
        if self.failures:
            self.failures -= 1
            self.happened.append("refused")
            raise StackError("Redis is away")
        self.happened.append(f"write {len(rows)}")
        return Written(len(rows), 0)


def row(entity: str, at_ms: int = 1_000) -> Record:
    body = {"group": "track", "fingerprint": PACKER.fingerprint, "entity": entity, "event_timestamp_ms": at_ms}
    return Record(orjson.dumps(body | {"values": {"plays": 1}}))


def writer_of(topic: Topic, store: Store, *, stop: Event | None = None, patience_s: float | None = None) -> Writer:
    parts: tuple[Any, ...] = (topic, store)
    reader, online = cast("tuple[TopicReader, OnlineStore]", parts)
    return Writer(reader, online.write_many, {"track": PACKER}, WriterMetrics(), stop or Event(), patience_s)


def test_offsets_are_committed_after_the_write_of_each_batch() -> None:
    topic = Topic([[row("a"), row("b")], [row("a", 2_000)]])
    writer = writer_of(topic, Store(topic.happened))
    writer.run(until_caught_up=True)
    assert topic.happened == ["write 2", "commit", "write 1", "commit"]
    assert writer.summary().rows == {"written": 3}


def test_only_the_newest_row_of_a_batch_is_written_and_bad_rows_are_counted() -> None:
    topic = Topic([[row("a"), row("a", 2_000), Record(b"{"), Record(None)]])
    writer = writer_of(topic, Store(topic.happened))
    writer.run(until_caught_up=True)
    assert topic.happened == ["write 1", "commit"]
    assert writer.summary().rows == {"written": 1, "superseded": 1, "malformed": 2}
    assert writer.summary().to_json()["read"] == 4


def test_an_outage_of_the_store_is_waited_out_and_nothing_is_lost() -> None:
    topic = Topic([[row("a")]])
    writer = writer_of(topic, Store(topic.happened, failures=2))
    writer.run(until_caught_up=True)
    assert topic.happened == ["refused", "refused", "write 1", "commit"]


def test_a_stop_during_an_outage_commits_nothing() -> None:
    stop = Event()

    class Stopping(Store):
        def write_many(self, rows: list[tuple[str, str, bytes]]) -> Written:
            stop.set()
            return super().write_many(rows)

    topic = Topic([[row("a")]])
    writer = writer_of(topic, Stopping(topic.happened, failures=5), stop=stop)
    writer.run(until_caught_up=False)
    assert topic.happened == ["refused"]
    assert writer.summary().rows == {}


def test_catching_up_gives_up_when_the_store_stays_away() -> None:
    topic = Topic([[row("a")]])
    with pytest.raises(StackError, match=r"no progress.*Redis is away"):
        writer_of(topic, Store(topic.happened, failures=99), patience_s=0.0).run(until_caught_up=True)
    assert "commit" not in topic.happened


def test_an_error_that_repeats_is_logged_every_ten_seconds() -> None:
    class Refused:
        def name(self) -> str:
            return "_TRANSPORT"

        def str(self) -> str:
            return "connection refused"

    times = iter([0.0, 0.1, 9.9, 10.0, 10.1])
    errors = ErrorLog(lambda: next(times))
    with capture_logs() as logged:
        for _ in range(5):
            errors(Refused())
    assert [entry["code"] for entry in logged] == ["_TRANSPORT", "_TRANSPORT"]


@pytest.mark.parametrize(("behind", "is_late"), [({0: 0, 1: 0}, False), ({0: 0, 1: 3}, True), ({}, True)])
def test_who_has_nothing_left_to_write_is_not_late(behind: dict[int, int], is_late: bool) -> None:
    topic, stop = Topic([[row("a")], []], behind=behind), Event()
    writer = writer_of(topic, Store(topic.happened), stop=stop)
    writer.run(until_caught_up=True)
    late = writer._metrics.lag_seconds._value.get()
    assert (late > 0) == is_late
