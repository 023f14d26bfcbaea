"""How long an event takes to Redis: live events, a probe among them now and then, and a look at Redis all the time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from benchmarks.jobs import environment_of
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import StackError
from playhead.ingest.events import EventRow
from playhead.ingest.replay import Pace, ReplaySummary, replay
from playhead.ingest.source import Record, Source
from playhead.serving.online import OnlineStore, open_online_store
from playhead.serving.packed import PackedRow, Packer
from schemas.decode import encode

GROUP, FEATURE = "listener", "plays_1m"
PROBES_PER_S = 5
_LOOK_SECONDS = 0.01
_PATIENCE_SECONDS = 60.0


@dataclass
class Probes:
    """Users with one event each: when it was sent, and how long it took until their row was in Redis, in seconds."""

    sent_ms: dict[str, int] = field(default_factory=dict)
    latency_s: dict[str, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def outstanding(self) -> list[str]:
        """Those that were not seen yet."""
        return [user for user in list(self.sent_ms) if user not in self.latency_s]


def measure_latency(settings: Settings, events: Sequence[EventRow], *, rate: int, warm_up: timedelta) -> list[float]:
    """Send events in real time, `rate` a second, and see how old a play is when its user's row shows it.

    Args:
        settings: of a stack whose speed job and online writer run.
        events: what to send; event time is the moment of sending.
        rate: events a second.
        warm_up: what is sent in this time is not looked at.

    Returns:
        Seconds from event time to Redis, one for each probe.

    Raises:
        StackError: a probe did not come to Redis at all.
    """
    probes = Probes()
    clock_ms = round((time.time() + len(events) / rate) * 1000)
    source = Source(records=_live(events, probes, rate), clock_ms=clock_ms, total=len(events))
    packer = Packer.of(load_declarations().plan(GROUP))
    with ThreadPoolExecutor(1) as pool, open_online_store(settings.redis) as store:
        sending = pool.submit(replay, source, settings, pace=Pace(rate=rate))
        try:
            _look(store, packer, probes, sending)
        finally:
            # After Ctrl-C nobody waits for the rest of the events.
            probes.ended.set()
    first_ms = min(probes.sent_ms.values()) + warm_up / timedelta(milliseconds=1)
    return [probes.latency_s[user] for user, sent_ms in probes.sent_ms.items() if sent_ms >= first_ms]


@contextmanager
def online_writer(settings: Settings) -> Iterator[None]:
    """Run `playhead write-online` while the block runs."""
    command = [str(Path(sys.executable).with_name("playhead")), "write-online"]
    with subprocess.Popen(command, env=environment_of(settings), stdout=subprocess.DEVNULL) as process:
        try:
            yield
            if process.poll() is not None:
                raise StackError(f"the online writer ended with {process.returncode}")
        finally:
            process.terminate()


def _live(events: Sequence[EventRow], probes: Probes, rate: int) -> Iterator[Record]:
    """Each event as it is about to be sent. Every so often a PLAY is given a user of its own."""
    probe_at = 0
    for number, event in enumerate(events):
        if probes.ended.is_set():
            return
        now_ms = time.time_ns() // 1_000_000
        user = str(event["user_id"])
        if number >= probe_at and event["event_type"] == "PLAY":
            probe_at += rate // PROBES_PER_S
            user = f"probe-{uuid.uuid4().hex}"
            probes.sent_ms[user] = now_ms
        yield Record(user.encode(), encode({**event, "user_id": user, "event_time_ms": now_ms}), now_ms)


def _look(store: OnlineStore, packer: Packer, probes: Probes, sending: Future[ReplaySummary]) -> None:
    """Note when each probe's row is first there, until all are."""
    deadline: float | None = None
    pause = threading.Event()
    while not sending.done() or probes.outstanding():
        users = probes.outstanding()
        rows = store.read(packer, users)
        seen_ms = time.time_ns() / 1e6
        for user, row in zip(users, rows, strict=True):
            if isinstance(row, PackedRow) and row.values[FEATURE]:
                probes.latency_s[user] = (seen_ms - probes.sent_ms[user]) / 1000
        if sending.done():
            sending.result()
            deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
            if time.monotonic() > deadline:
                raise StackError(f"{len(users)} of {len(probes.sent_ms)} probes did not come to Redis")
        pause.wait(_LOOK_SECONDS)
