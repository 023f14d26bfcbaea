"""The suite `stream`: what an event costs in the speed job and in two others, and how soon it is in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, Say, open_ground
from benchmarks.jobs import running
from benchmarks.latency import measure_latency, online_writer
from benchmarks.measuring import cpu_seconds, goals_met, quantile
from benchmarks.options import Options
from playhead.config import load_settings
from playhead.ingest.generator import GeneratorConfig, generate
from playhead.ingest.listening import DAY_MS
from playhead.ingest.replay import replay
from playhead.ingest.source import Record, Source
from playhead.speed.cluster import ENTRY_POINT

DAYS = 6
WARM_UP_DAYS = 3
EVENTS_PER_LISTENER = 153
"""What the generator makes of one listener in `DAYS` days, about."""

LIVE_RATE = 1_000
LIVE_WARM_UP = timedelta(seconds=30)
_PATIENCE = timedelta(minutes=20)
_HERE = Path(__file__).parent

GOALS = {
    "events_per_cpu_s": (5_000, "at least"),
    "ratio_to_keyed_python": (5, "at least"),
    "ratio_to_scan_decode": (0.15, "at least"),
    "online_latency_p99_s": (3, "at most"),
}


@dataclass(frozen=True)
class Load:
    """Generated records: the first days warm up, the others are measured.

    By then the JVM has compiled what it compiles, and as many events leave the longest window (1 day) as enter it: the
    measured part is the steady state.
    """

    warm_up: Sequence[Record]
    measured: Sequence[Record]
    clock_ms: int


def run(say: Say, options: Options) -> dict[str, Any]:
    """Measure; returns the figures by name, as JSON values.

    Each job has a stack of its own: what one made the JVM compile or keep would be to the next one's credit or debit.
    """
    lateness = load_settings().stream.allowed_lateness
    load, small = make_load(options.events, lateness), make_load(options.keyed_python_events, lateness)
    with open_ground(say) as ground:
        speed = events_per_cpu_s(ground, "speed", ground.settings.project / ENTRY_POINT, load)
    with open_ground(say) as ground:
        scan = events_per_cpu_s(ground, "scan_decode", _HERE / "scan_decode.py", load)
    with open_ground(say) as ground:
        keyed = events_per_cpu_s(ground, "keyed_python", _HERE / "keyed_python.py", small)
    with open_ground(say) as ground:
        latencies = online_latencies(ground, options.live_seconds)
    figures = {
        "events": len(load.measured),
        "events_per_cpu_s": round(speed),
        "scan_decode_events_per_cpu_s": round(scan),
        "keyed_python_events_per_cpu_s": round(keyed),
        "ratio_to_keyed_python": round(speed / keyed, 2),
        "ratio_to_scan_decode": round(speed / scan, 3),
        "online_latency_p50_s": round(quantile(latencies, 0.5), 3),
        "online_latency_p99_s": round(quantile(latencies, 0.99), 3),
    }
    return figures | {"goals": goals_met(GOALS, figures)}


def make_load(events: int, allowed_lateness: timedelta) -> Load:
    """Generate about so many events, always the same ones."""
    config = GeneratorConfig(users=max(1, events // EVENTS_PER_LISTENER), days=DAYS)
    records = [sent.record for sent in generate(config)]
    warm_ms = config.start_ms + WARM_UP_DAYS * DAY_MS
    warm_up = [record for record in records if record.time_ms < warm_ms]
    # The heartbeats at the end of the first replay make late what comes right after it.
    late_ms = warm_up[-1].time_ms + 2_000 + allowed_lateness // timedelta(milliseconds=1)
    measured = [record for record in records if record.time_ms >= max(warm_ms, late_ms)]
    return Load(warm_up, measured, config.end_ms)


def events_per_cpu_s(ground: Ground, name: str, program: Path, load: Load) -> float:
    """Run a job over the load; CPU time is the TaskManager's and its Python workers', after the warm-up."""
    settings, pid = ground.apart(name), ground.task_manager_pid
    started_s = cpu_seconds(pid)
    replay(Source(records=load.warm_up, clock_ms=load.clock_ms), settings)
    with running(settings, program) as job:
        job.wait_until_read(load.warm_up[-1].time_ms, _PATIENCE)
        warm_s = cpu_seconds(pid)
        ground.say(f"{name}: warm-up, {len(load.warm_up):,} events in {warm_s - started_s:.1f} CPU seconds")
        replay(Source(records=load.measured, clock_ms=load.clock_ms), settings)
        job.wait_until_read(load.measured[-1].time_ms, _PATIENCE)
        spent_s = cpu_seconds(pid) - warm_s
    rate = len(load.measured) / spent_s
    ground.say(f"{name}: {len(load.measured):,} events in {spent_s:.1f} CPU seconds, {rate:,.0f} a CPU second")
    return rate


def online_latencies(ground: Ground, live_seconds: int) -> list[float]:
    """Seconds from event time to Redis, one for each probe, with the speed job and the online writer running."""
    settings = ground.apart("live")
    number = (round(LIVE_WARM_UP.total_seconds()) + live_seconds) * LIVE_RATE
    config = GeneratorConfig(users=max(1, 2 * number // EVENTS_PER_LISTENER), days=DAYS)
    events = [sent.event for sent in islice(generate(config), number) if sent.event is not None]
    with running(settings, settings.project / ENTRY_POINT), online_writer(settings):
        ground.say(f"latency: {LIVE_RATE:,} live events a second, {len(events) / LIVE_RATE:.0f} s")
        latencies = measure_latency(settings, events, rate=LIVE_RATE, warm_up=LIVE_WARM_UP)
    ground.say(f"latency: {len(latencies)} probes")
    return latencies
