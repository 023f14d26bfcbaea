"""How long a traced event takes to where it is read: the lake, and the online store."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from playhead.checks.readings import Reading
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.ingest.trace import Traced, Tracer, listener_of, open_tracer
from playhead.lake_files import finished_files
from playhead.plan import SessionPlan
from playhead.serving.online import OnlineStore, open_online_store
from playhead.serving.packed import PackedRow, Packer

CHECK = "freshness"
"""The name of the check that these readings are of."""

PATIENCE = timedelta(minutes=1)
"""How long a traced event is waited for."""

_SPACING_SECONDS = 0.3
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Trip:
    """Where a traced event was seen, in seconds after it was sent; null: nowhere within the patience.

    Attributes:
        lake_s: in a finished file of the lake.
        online_s: in its listener's row of the online store.
        counts: its row can be told. Not when a replay ran ahead of it, so that it was late and made none, nor when no
            time has passed since its listener's last.
    """

    lake_s: float | None = None
    online_s: float | None = None
    counts: bool = True


def trace(settings: Settings, count: int, *, patience: timedelta = PATIENCE) -> list[Reading]:
    """Send events of reserved listeners, and measure when they are seen. `playhead.ingest.trace` says what they change.

    Args:
        settings: where everything is.
        count: how many events.
        patience: how long to wait for each.

    Returns:
        p50 and p99 of the lake and of the online store.

    Raises:
        InputError: the topic has no record yet.
        StackError: Kafka or Redis does not answer.
    """
    plans = [p for p in load_declarations().speed_plans if isinstance(p, SessionPlan) and p.key == "user_id"]
    with open_online_store(settings.redis) as store, open_tracer(settings) as tracer:
        online = _Online(store, Packer.of(plans[0])) if plans else None
        trips = _Watch(tracer, _Lake(settings.lake / "events"), online, patience).run(count)
    readings = readings_of("lake", [trip.lake_s for trip in trips], settings.freshness.lake)
    if online is not None:
        due = [trip.online_s for trip in trips if trip.counts]
        readings += readings_of("online", due, settings.freshness.online, left_out=len(trips) - len(due))
    return readings


def readings_of(
    subject: str, seconds: Sequence[float | None], allowed: timedelta, *, left_out: int = 0
) -> list[Reading]:
    """Half of them, and 99 of 100 of them, take at most so long; an event that was not seen takes for ever.

    >>> [(one.measure, one.value, one.ok) for one in readings_of("lake", [3.0, 1.0, 2.0], timedelta(seconds=2))]
    [('p50_s', 2.0, True), ('p99_s', 3.0, False)]
    >>> [(one.measure, one.value, one.ok) for one in readings_of("lake", [1.0, 1.5, None], timedelta(seconds=2))]
    [('p50_s', 1.5, True), ('p99_s', None, False)]
    """
    unseen = sum(each is None for each in seconds)
    notes = [f"{len(seconds)} traced events"]
    notes += [f"{unseen} were not seen in time"] if unseen else []
    notes += [f"{left_out} more made no row that can be told: does a replay run ahead of them?"] if left_out else []
    detail, ordered = "; ".join(notes), sorted(math.inf if each is None else each for each in seconds)

    def reading(measure: str, share: float, limit: float | None) -> Reading:
        value = ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.inf
        known = value if math.isfinite(value) else None
        ok = limit is None or value <= limit
        return Reading(check=CHECK, subject=subject, measure=measure, value=known, allowed=limit, ok=ok, detail=detail)

    return [reading("p50_s", 0.5, None), reading("p99_s", 0.99, allowed.total_seconds())]


class _Lake:
    """Finds events by their ids in finished files, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = set(finished_files(folder))
        self._late: dict[str, bool] = {}

    def look(self, traced: Traced) -> bool | None:
        """Whether the event is marked as late; None while it is not there."""
        moment = datetime.fromtimestamp(traced.time_ms / 1_000, UTC)
        hour = self._folder / f"dt={moment:%Y-%m-%d}" / f"hour={moment:%H}"
        for file in finished_files(hour):
            if file not in self._read:
                self._read.add(file)
                rows = pq.read_table(file, columns=["event_id", "late"], partitioning=None)
                self._late.update(zip(rows["event_id"].to_pylist(), rows["late"].to_pylist(), strict=True))
        return self._late.get(traced.event_id)


class _Online:
    """Finds the row that a listener's event makes."""

    def __init__(self, store: OnlineStore, packer: Packer) -> None:
        self._store, self._packer = store, packer

    def stamp_ms(self, user_id: str) -> int:
        """The time of the listener's row, UTC epoch ms; 0 without one."""
        (row,) = self._store.read(self._packer, [user_id])
        return row.event_timestamp_ms if isinstance(row, PackedRow) else 0


@dataclass(kw_only=True)
class _Sent:
    """An event on its way. `told`: its row can be told from the one that was there before."""

    traced: Traced
    told: bool
    lake_s: float | None = None
    online_s: float | None = None
    late: bool = False


def _row_ms(traced: Traced) -> int:
    """The time of the row that it makes: the end of its second."""
    return traced.time_ms // 1_000 * 1_000 + 1_000


class _Watch:
    """Sends events, some time apart, and looks for all that are on their way."""

    def __init__(self, tracer: Tracer, lake: _Lake, online: _Online | None, patience: timedelta) -> None:
        self._tracer, self._lake, self._online = tracer, lake, online
        self._patience_s = patience.total_seconds()

    def run(self, count: int) -> list[Trip]:
        sent: list[_Sent] = []
        # Beside the looking: sending one takes a second, in which others are seen.
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self._send_all, count, sent)
            while not sending.done() or any(map(self._is_open, sent)):
                for each in filter(self._is_open, list(sent)):
                    self._look(each)
                time.sleep(_POLL_SECONDS)
            sending.result()
        return [Trip(lake_s=each.lake_s, online_s=each.online_s, counts=each.told and not each.late) for each in sent]

    def _send_all(self, count: int, sent: list[_Sent]) -> None:
        for number in range(count):
            sent.append(self._send(number))
            time.sleep(_SPACING_SECONDS)

    def _send(self, number: int) -> _Sent:
        stamp_ms = self._online.stamp_ms(listener_of(number)) if self._online else 0
        traced = self._tracer.send(number)
        return _Sent(traced=traced, told=stamp_ms < _row_ms(traced))

    def _is_open(self, sent: _Sent) -> bool:
        seen = sent.lake_s is not None and (sent.online_s is not None or not self._awaits_row(sent))
        return not seen and time.monotonic() < sent.traced.sent_s + self._patience_s

    def _awaits_row(self, sent: _Sent) -> bool:
        return self._online is not None and sent.told and not sent.late

    def _look(self, sent: _Sent) -> None:
        if sent.lake_s is None and (late := self._lake.look(sent.traced)) is not None:
            sent.lake_s, sent.late = time.monotonic() - sent.traced.sent_s, late
        if self._online is None or sent.online_s is not None or not self._awaits_row(sent):
            return
        if self._online.stamp_ms(sent.traced.user_id) >= _row_ms(sent.traced):
            sent.online_s = time.monotonic() - sent.traced.sent_s
