"""The main job: the whole path once, start to stop, on the real engines. A stage is what its command runs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from playhead import stack
from playhead.batch.backfill import backfill
from playhead.batch.daily import run_days
from playhead.batch.session import spark_session
from playhead.checks import results
from playhead.checks.accounts import check_accounts
from playhead.checks.backfill import check_backfill
from playhead.checks.skew import check_skew
from playhead.config import LOCALHOST, Settings
from playhead.declarations import Declarations
from playhead.errors import StackError
from playhead.ingest.catalogue import MADE_UP_TRACKS
from playhead.ingest.generator import GeneratorConfig
from playhead.ingest.replay import ReplaySummary, replay
from playhead.ingest.source import file_source
from playhead.ingest.truth import generated_source
from playhead.lake_files import event_days
from playhead.local import lake
from playhead.plan import SessionPlan
from playhead.relations import milliseconds
from playhead.report.gather import gather
from playhead.report.page import write_page
from playhead.serving.dimension_table import load_dimension
from playhead.serving.lander import land_served
from playhead.serving.online import open_online_store
from playhead.serving.online_merge import online_name
from playhead.serving.registry import apply
from playhead.serving.server import clock_from, run_server
from playhead.serving.training_set import build_training_set
from playhead.serving.writer import run_writer
from playhead.speed import cluster

log = structlog.get_logger()

SPINE_ROWS = 1_000
REQUESTS = 50
CANDIDATES = 20
BACKFILL_POINTS = 1_000
SERVE_BUDGET = timedelta(seconds=10)
BATCH_DAYS = 3
"""Days whose views are published: the last ones. Their windows reach back over all days."""
_SECONDS_TO_START = 180
_SEED = 7


@dataclass(frozen=True, kw_only=True)
class DemoInput:
    """Event files of one format, or made-up events when there are none."""

    files: tuple[Path, ...] = ()
    format: str | None = None
    user: str | None = None


@dataclass
class _Run:
    """What the stages share, and what they have found so far."""

    settings: Settings
    declarations: Declarations
    input: DemoInput
    cleanup: ExitStack
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Files that the demo makes for itself: spine, training set, truth."""
        return self.settings.home / "demo"

    @property
    def service(self) -> str:
        return self.declarations.services[0].name


Progress = Callable[[str], None]
"""Called with the name of each stage as it starts."""


def run_demo(settings: Settings, declarations: Declarations, given: DemoInput, progress: Progress) -> dict[str, Any]:
    """Run every stage, then stop everything; lake, registry and report stay in the home.

    Args:
        settings: in `local` mode; a home that was used before is gone on with.
        declarations: what is declared; its first service is served.
        given: what to replay.
        progress: told each stage.

    Returns:
        The figures of the table at its end, as JSON values; kept as the result `demo`.

    Raises:
        PlayheadError: from the stage that failed. Everything is stopped then, too.
    """
    started = time.monotonic()
    seconds: dict[str, float] = {}
    with ExitStack() as cleanup:
        demo = _Run(settings, declarations, given, cleanup)
        demo.folder.mkdir(parents=True, exist_ok=True)
        cleanup.callback(_stop, demo)
        for title, stage in _STAGES:
            progress(title)
            begun = time.monotonic()
            stage(demo)
            seconds[title] = round(time.monotonic() - begun, 1)
            log.info("demo stage", stage=title, seconds=seconds[title])
        progress("stopping")
    demo.found |= {"seconds": round(time.monotonic() - started, 1), "stages": seconds}
    results.save(settings, "demo", demo.found)
    return demo.found


def _up(demo: _Run) -> None:
    stack.start(demo.settings)


def _submit(demo: _Run) -> None:
    cluster.start(demo.settings)


def _replay(demo: _Run) -> None:
    settings = demo.settings
    if demo.input.files:
        latest = datetime.now(UTC) + settings.stream.clock_skew
        source = file_source(
            list(demo.input.files),
            str(demo.input.format),
            user=demo.input.user,
            latest_ms=round(latest.timestamp() * 1000),
        )
        summary = replay(source, settings)
    else:
        summary = _replay_made_up(demo)
    if summary.last_event_ms is None or summary.first_event_ms is None:
        raise StackError("no event was sent", hint="is the input empty? see the skipped rows")
    results.save(settings, "replay", summary.to_json())
    demo.found |= {
        "rows_read": summary.rows,
        "rows_skipped": dict(summary.skipped),
        "events_read": summary.events,
        "sent": summary.sent,
        "not_sent": dict(summary.not_sent),
        "first_event_ms": summary.first_event_ms,
        "last_event_ms": summary.last_event_ms,
    }


def _replay_made_up(demo: _Run) -> ReplaySummary:
    """A few days of a few hundred listeners, with the faults that a real topic has."""
    settings = demo.settings
    config = GeneratorConfig(
        duplicates=0.02,
        late=0.01,
        out_of_order=0.01,
        malformed=0.005,
        allowed_lateness_ms=milliseconds(settings.stream.allowed_lateness),
        max_message_bytes=settings.stream.max_message_bytes,
    )
    catalogue = settings.home / MADE_UP_TRACKS
    with generated_source(config, catalogue=catalogue, truth=demo.folder / "truth") as (source, truth):
        load_dimension(settings, demo.declarations, "track", [catalogue])
        summary = replay(source, settings)
    demo.found["truth"] = {k: v for k, v in truth.to_json().items() if k != "config"}
    return summary


def _catch_up(demo: _Run) -> None:
    cluster.wait_until_read(demo.settings, demo.found["last_event_ms"])


def _count(demo: _Run) -> None:
    accounts = check_accounts(demo.settings).to_json()
    demo.found |= {name: accounts[name] for name in ("duplicates", "dead_letters", "lake_rows", "late", "adds_up")}
    plans, root = demo.declarations.speed_plans, demo.settings.lake
    sessions = [plan for plan in plans if isinstance(plan, SessionPlan)]
    demo.found["sessions"] = {
        "closed": lake.count_rows(root / "sessions"),
        "open": sum(lake.count_open_sessions(root, plan) for plan in sessions),
    }
    demo.found["feature_rows"] = {plan.name: lake.count_rows(root / "speed" / plan.name) for plan in plans}


def _write(demo: _Run) -> None:
    run_writer(demo.settings, Event(), until_caught_up=True)


def _batch(demo: _Run) -> None:
    # One session for this and the backfill: what runs in it uses it as it is.
    demo.cleanup.enter_context(spark_session(demo.settings))
    run_days(demo.settings, event_days(demo.settings.lake)[-BATCH_DAYS:])
    demo.found["quality"] = _quality(demo.settings)
    with open_online_store(demo.settings.redis) as store:
        plans = map(demo.declarations.plan, (group.name for group in demo.declarations.groups))
        demo.found["online_entities"] = {plan.name: store.count(online_name(plan)) for plan in plans}


def _quality(settings: Settings) -> dict[str, int]:
    """How the published days were judged. A day that fails ends the demo before this."""
    days = (results.load(settings, "quality") or {"days": {}})["days"].values()
    judged = [e for day in days for suite in day["suites"].values() for e in suite["expectations"]]
    return {"days": len(days), "expectations": len(judged), "failed": sum(not e["success"] for e in judged)}


def _apply(demo: _Run) -> None:
    apply(demo.settings, demo.declarations)


def _serve(demo: _Run) -> None:
    """Ask for vectors over HTTP, as a ranking service does, and bring the log of what was served to the lake."""
    points = lake.sample_points(demo.settings.lake, REQUESTS * CANDIDATES, _SEED).to_pylist()
    users = sorted({point["user_id"] for point in points})
    rng = random.Random(_SEED)
    # It is asked by this process alone. What is served is compared, so a machine that is busy may take its time.
    own = {"host": LOCALHOST, "tokens": (), "budget": SERVE_BUDGET}
    serve = demo.settings.serve.model_copy(update=own)
    settings = demo.settings.model_copy(update={"serve": serve})
    # The events are of the past: they are served as if their last moment was now.
    clock_s = clock_from(demo.found["last_event_ms"] / 1_000 + 1)
    with (
        _serving(settings, clock_s),
        httpx.Client(base_url=f"http://{serve.host}:{serve.port}", trust_env=False) as client,
    ):
        for _ in range(REQUESTS):
            candidates = [
                {"track_id": p["track_id"], "artist_id": p["artist_id"]} for p in rng.choices(points, k=CANDIDATES)
            ]
            body = {"service": demo.service, "user_id": rng.choice(users), "candidates": candidates}
            client.post("/v1/features", json=body).raise_for_status()
    land_served(demo.settings, Event())
    demo.found["served_vectors"] = REQUESTS * CANDIDATES


@contextmanager
def _serving(settings: Settings, clock_s: Callable[[], float]) -> Iterator[None]:
    """The feature server in a thread, for as long as the context lasts."""
    stop, failed = Event(), list[StackError]()

    def work() -> None:
        try:
            run_server(settings, stop, clock_s)
        except StackError as error:
            failed.append(error)

    thread = Thread(target=work, name="server")
    thread.start()
    try:
        _wait_until_ready(settings, thread, failed)
        yield
    finally:
        stop.set()
        thread.join()


def _wait_until_ready(settings: Settings, thread: Thread, failed: list[StackError]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    url = f"http://{settings.serve.host}:{settings.serve.port}/ready"
    while time.monotonic() < deadline:
        if failed:
            raise failed[0]
        try:
            with httpx.Client(trust_env=False) as client:
                if client.get(url).is_success:
                    return
        except httpx.TransportError:
            thread.join(0.1)
    raise StackError(f"the feature server did not answer at {url}")


def _train(demo: _Run) -> None:
    spine = demo.folder / "spine.parquet"
    points = lake.sample_points(demo.settings.lake, SPINE_ROWS, _SEED)
    utc = pa.timestamp("ms", tz="UTC")
    at = points.column_names.index("event_timestamp")
    pq.write_table(
        points.set_column(at, "event_timestamp", points["event_timestamp"].cast("timestamp[ms]").cast(utc)), spine
    )
    output = demo.folder / "training_set.parquet"
    made = build_training_set(demo.settings, demo.declarations, demo.service, spine, output)
    demo.found["training_rows"] = made.rows


def _skew(demo: _Run) -> None:
    skew = check_skew(demo.settings, demo.declarations, [demo.service])
    demo.found["skew"] = {"values": skew.values, "matches": skew.matches, "mismatches": skew.mismatches}


def _backfill(demo: _Run) -> None:
    demo.found["backfill_rows"] = dict(backfill(demo.settings).rows)
    found = check_backfill(demo.settings, demo.declarations, points=BACKFILL_POINTS, seed=_SEED)
    demo.found["backfill"] = {
        name: {"points": each.points, "different": each.different} for name, each in found.items()
    }


def _report(demo: _Run) -> None:
    page = demo.settings.home / "report.html"
    write_page(gather(demo.settings, demo.declarations), page)
    demo.found["report"] = str(page)


def _stop(demo: _Run) -> None:
    """Stop the job with its state kept, then the stack; a job that cannot be stopped goes with its cluster."""
    try:
        cluster.stop(demo.settings)
    except StackError as error:
        log.warning("speed job not stopped", error=str(error))
    stack.stop(demo.settings)


_STAGES: tuple[tuple[str, Callable[[_Run], None]], ...] = (
    ("starting Kafka, Redis and Flink", _up),
    ("submitting the speed job", _submit),
    ("replaying events", _replay),
    ("waiting for the speed job", _catch_up),
    ("counting", _count),
    ("writing feature rows online", _write),
    ("building daily views", _batch),
    ("applying the feature repo", _apply),
    ("serving vectors", _serve),
    ("building a training set", _train),
    ("checking skew", _skew),
    ("backfilling", _backfill),
    ("writing the report", _report),
)
