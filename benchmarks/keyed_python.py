"""The same counters by hand: keyed PyFlink functions with state and event-time timers, in Python's process mode.

What a careful user would write without playhead. Events are held until their second is over, then added to running
sums; a timer at second + window takes them out again. Only the counters, sessions and last tracks: no de-duplication,
no dead letters, no lake, and the rows go nowhere, so the comparison leans towards this job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import Sink
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, StreamTableEnvironment

from playhead.config import Settings, load_settings
from playhead.speed import sql
from playhead.speed.job import TABLE_SETTINGS
from playhead.speed.source import decoded_rows
from schemas.decode import HEARTBEAT_HEADER, decode
from schemas.tables import event_columns

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
GAP_MS = 30 * MINUTE_MS
LAST_TRACKS = 5


class Event(NamedTuple):
    """What the counters need of an event."""

    user_id: str
    track_id: str | None
    artist_id: str | None
    event_type: str
    event_time_ms: int
    ms_played: int | None


Measures = Mapping[str, Callable[[Event], int]]
Windows = Mapping[str, tuple[str, int]]
"""Feature to its measure and its length in ms."""

PLAYS: Measures = {"plays": lambda e: e.event_type == "PLAY"}
SKIPS: Measures = {"skips": lambda e: e.event_type == "SKIP"}
LISTENING: Measures = {
    **PLAYS,
    **SKIPS,
    "early_skips": lambda e: e.event_type == "SKIP" and (e.ms_played or 0) < 5_000,
    "pauses": lambda e: e.event_type == "PAUSE",
    "completes": lambda e: e.event_type == "COMPLETE",
    "listen_ms": lambda e: (e.ms_played or 0) if e.event_type in ("SKIP", "COMPLETE", "STOP") else 0,
}
PLAY_WINDOWS: Windows = {"plays_1h": ("plays", HOUR_MS), "plays_1d": ("plays", DAY_MS)}
TRACK_WINDOWS: Windows = {"plays_1m": ("plays", MINUTE_MS), **PLAY_WINDOWS, "skips_1h": ("skips", HOUR_MS)}
LISTENER_WINDOWS: Windows = {
    **TRACK_WINDOWS,
    **{f"{m}_1h": (m, HOUR_MS) for m in ("early_skips", "pauses", "completes", "listen_ms")},
}


class Counters(KeyedProcessFunction):  # type: ignore[misc]
    """Sliding counters of a key, exact to the second."""

    def __init__(self, measures: Measures, windows: Windows) -> None:
        self.measures, self.windows = measures, windows
        self.longest_ms = max(length for _, length in windows.values())
        self.amounts: Any = None
        self.sums: Any = None

    def open(self, context: RuntimeContext) -> None:
        """Declare the state: amounts by the end of their second, and the running sums."""
        amounts = MapStateDescriptor("amounts", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
        self.amounts = context.get_map_state(amounts)
        self.sums = context.get_state(ValueStateDescriptor("sums", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, event: Event, context: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Hold the event until its second is over."""
        own = {name: amount for name, measure in self.measures.items() if (amount := int(measure(event)))}
        if own:
            end_ms = second_end(event.event_time_ms)
            held = self.amounts.get(end_ms) or {}
            self.amounts.put(end_ms, {n: held.get(n, 0) + own.get(n, 0) for n in held | own})
            ends = {end_ms, *(end_ms + length for m, length in self.windows.values() if m in own)}
            for each in ends:
                context.timer_service().register_event_time_timer(each - 1)
        yield from ()

    def on_timer(self, timestamp: int, context: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Give the row of a second in which something came or went."""
        row = self.counted(timestamp + 1)
        if row is not None:
            yield context.get_current_key(), timestamp + 1, row

    def counted(self, end_ms: int) -> dict[str, Any] | None:
        """The sums at the end of a second; None when nothing changed in it."""
        sums = self.sums.value() or dict.fromkeys(self.windows, 0)
        coming = self.amounts.get(end_ms)
        changed = coming is not None
        leaving = {length: self.amounts.get(end_ms - length) for _, length in self.windows.values()}
        for feature, (measure, length) in self.windows.items():
            for amounts, sign in ((coming, 1), (leaving[length], -1)):
                if amounts is not None and measure in amounts:
                    sums[feature] += sign * amounts[measure]
                    changed = True
        if leaving[self.longest_ms] is not None:
            self.amounts.remove(end_ms - self.longest_ms)
        if not changed:
            return None
        self.sums.update(sums)
        return dict(sums)


class ListenerCounters(Counters):
    """Counters, last tracks and the live session of a listener."""

    def __init__(self) -> None:
        super().__init__(LISTENING, LISTENER_WINDOWS)
        self.waiting: Any = None
        self.tracks: Any = None
        self.session: Any = None

    def open(self, context: RuntimeContext) -> None:
        """Declare the state: events by the end of their second, the last tracks, the session."""
        super().open(context)
        waiting = MapStateDescriptor("waiting", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
        self.waiting = context.get_map_state(waiting)
        self.tracks = context.get_state(ValueStateDescriptor("tracks", Types.PICKLED_BYTE_ARRAY()))
        self.session = context.get_state(ValueStateDescriptor("session", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, event: Event, context: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Hold the event until its second is over, when the order of its events is known."""
        end_ms = second_end(event.event_time_ms)
        self.waiting.put(end_ms, [*(self.waiting.get(end_ms) or []), event])
        for each in (end_ms, second_end(event.event_time_ms + GAP_MS)):
            context.timer_service().register_event_time_timer(each - 1)
        yield from super().process_element(event, context)

    def on_timer(self, timestamp: int, context: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Give the rows of a second: counters, session, and a session that ended."""
        end_ms = timestamp + 1
        events = sorted(self.waiting.get(end_ms) or [], key=lambda e: e.event_time_ms)
        self.waiting.remove(end_ms)
        yield from self.sessions(events, end_ms, context.get_current_key())
        tracks = self.tracks.value() or []
        if played := [e.track_id for e in events if e.event_type == "PLAY"]:
            tracks = [*reversed(played), *tracks][:LAST_TRACKS]
            self.tracks.update(tracks)
        row = self.counted(end_ms)
        if row is not None:
            rate = row["skips_1h"] / row["plays_1h"] if row["plays_1h"] else None
            yield context.get_current_key(), end_ms, {**row, "skip_rate_1h": rate, "last_5_tracks": tracks}

    def sessions(self, events: list[Event], end_ms: int, user_id: str) -> Iterator[Any]:
        """The live session after these events, and any that ended before or between them."""
        live = before = self.session.value()
        for event in events:
            if live and event.event_time_ms - live["last_ms"] > GAP_MS:
                yield user_id, end_ms, live
                live = None
            live = live or {"start_ms": event.event_time_ms, "events": 0, "plays": 0, "skips": 0, "listen_ms": 0}
            live = {
                "start_ms": live["start_ms"],
                "last_ms": event.event_time_ms,
                "events": live["events"] + 1,
                **{name: live[name] + LISTENING[name](event) for name in ("plays", "skips", "listen_ms")},
            }
        if live and end_ms > live["last_ms"] + GAP_MS:
            yield user_id, end_ms, live
            live = None
        if live != before:
            self.session.update(live)
            yield user_id, end_ms, live


def second_end(time_ms: int) -> int:
    """The end of a moment's second."""
    return time_ms - time_ms % 1000 + 1000


def submit(settings: Settings) -> None:
    """Count by listener, track and artist; the rows go nowhere."""
    environment = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(environment, EnvironmentSettings.in_streaming_mode())
    for key, value in TABLE_SETTINGS.items():
        tables.get_config().set(key, value)
    events = _events(tables, settings)
    keyed: tuple[tuple[int, KeyedProcessFunction], ...] = (
        (Event._fields.index("user_id"), ListenerCounters()),
        (Event._fields.index("track_id"), Counters({**PLAYS, **SKIPS}, TRACK_WINDOWS)),
        (Event._fields.index("artist_id"), Counters(PLAYS, PLAY_WINDOWS)),
    )
    for column, counters in keyed:
        of_key = events.filter(lambda e, c=column: e[c] is not None).key_by(lambda e, c=column: e[c], Types.STRING())
        nowhere = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
        of_key.process(counters).sink_to(Sink(nowhere))
    environment.execute_async("keyed-python")


def _events(tables: StreamTableEnvironment, settings: Settings) -> DataStream:
    """Decoded events with the event time and the watermark of their records, from the speed job's own source."""
    decoded_rows(tables, settings, ())
    query = "SELECT `payload`, `latest_ms`, `record_time` FROM kafka_events WHERE `headers`[{}] IS NULL"
    records = tables.sql_query(query.format(sql.text(HEARTBEAT_HEADER)))
    max_bytes = settings.stream.max_message_bytes
    place = {name: i for i, name in enumerate(event_columns())}
    wanted = [place[name] for name in Event._fields]

    def decoded(record: Any) -> Iterator[Event]:
        row = decode(record[0] or b"", latest_ms=record[1], max_bytes=max_bytes)
        if not isinstance(row, str):
            yield Event._make(row[i] for i in wanted)

    return tables.to_data_stream(records).flat_map(decoded)


if __name__ == "__main__":
    # By its real name, so that workers import the classes instead of receiving them with every event.
    from benchmarks import keyed_python

    keyed_python.submit(load_settings())
