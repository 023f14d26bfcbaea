"""A drill: known things go wrong on the last of eight made-up days, and whoever is on call is told each of them.

What models are served is not in the made-up events: it is what training sees at the moments of some of them, which the
skew check holds against the server's.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from playhead.checks import results
from playhead.checks.readings import Standing, standings
from playhead.config import Settings
from playhead.days import DAY
from playhead.declarations import load_declarations
from playhead.report.words import plain
from playhead.serving.served_table import served_schema
from playhead.speed import cluster
from tests.conftest import settings_on_free_ports
from tests.e2e.command import command, left_running, playhead
from tests.polling import PATIENCE, eventually

pytestmark = pytest.mark.e2e

FIRST = date(2025, 3, 3)
DAYS = 8
LAST = FIRST + (DAYS - 1) * DAY
MIDNIGHT = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC)
SERVICE = "listener_v1"
USERS = 250

CHECKS = ("quality", "drift", "accounts", "freshness")
WRITER = "playhead-online-writer"


@dataclass(frozen=True)
class Told:
    """What somebody is told after a day: by exit codes, by the history, on the page and to Prometheus."""

    exits: dict[str, int]
    wrong: dict[tuple[str, str, str], Standing]
    page: str
    problems: list[dict[str, Any]]
    metrics: str


@dataclass
class Drill:
    """A running stack to which the days are sent."""

    settings: Settings
    cleanup: ExitStack

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return playhead(self.settings.home, *arguments)

    def must(self, *arguments: object) -> None:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr[-4000:]

    def background(self, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(self.settings.home, *arguments), text=True, stderr=subprocess.DEVNULL)
        self.cleanup.callback(process.wait, PATIENCE)
        self.cleanup.callback(process.terminate)
        return process

    def send(self, first: date, days: int, *options: str) -> None:
        """Send made-up days, and wait until they are in the lake."""
        self.must("replay", "--generate", "--users", USERS, "--start", first, "--days", days, *options)
        sent = results.load(self.settings, "replay")
        assert sent is not None
        cluster.wait_until_read(self.settings, sent["last_event_ms"], timeout=timedelta(minutes=15))

    def serve(self, days: Sequence[date]) -> None:
        """Vectors at moments of the days' events."""
        folder, declared = self.settings.home / "drill", load_declarations()
        folder.mkdir(exist_ok=True)
        asked = [event for day in days for event in self.plays(day)]
        times = [datetime.fromtimestamp(event["event_time_ms"] / 1_000, UTC) for event in asked]
        keys = {key: [event[key] for event in asked] for key in ("user_id", "track_id", "artist_id")}
        spine, output = folder / "spine.parquet", folder / "served.parquet"
        pq.write_table(pa.table(keys | {"event_timestamp": times}), spine)
        self.must("training-set", "--service", SERVICE, "--spine", spine, "--output", output)
        schema = served_schema(declared.service(SERVICE), declared)
        log = [
            dict.fromkeys(schema.names)
            | {name: value for name, value in row.items() if name in schema.names}
            | {"request_id": f"r{n}-{time}", "serve_time": time, "dt": f"{time:%Y-%m-%d}"}
            for n, (row, time) in enumerate(zip(pq.read_table(output).to_pylist(), times, strict=True))
        ]
        path = self.settings.lake / "served" / SERVICE
        write_deltalake(path, pa.Table.from_pylist(log, schema), mode="append", partition_by=["dt"])

    def plays(self, day: date) -> list[dict[str, Any]]:
        """One of each listener of a day: of one that is served often, the vectors count as one."""
        events = ds.dataset(self.settings.lake / "events" / f"dt={day}", format="parquet", partitioning="hive")
        found = events.to_table(filter=pc.field("event_type") == "PLAY").sort_by("event_id").to_pylist()
        random.Random(f"served {day}").shuffle(found)
        return list({event["user_id"]: event for event in found}.values())

    def told(self, day: date) -> Told:
        """Run every check, and look at the page."""
        exits = {
            "quality": self.run("check", "quality", "--date", day, "--table", "events").returncode,
            "drift": self.run("check", "drift", "--date", day).returncode,
            "accounts": self.run("check", "accounts").returncode,
            "freshness": self.run("check", "freshness").returncode,
        }
        wrong = {one.reading.about: one for one in standings(self.settings, CHECKS) if not one.reading.ok}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.settings.report.port}", trust_env=False) as client:
            after = datetime.now(UTC)
            assert eventually(lambda: datetime.fromisoformat(client.get("/facts.json").json()["made_at"]) > after)
            page, problems = client.get("/").text, client.get("/facts.json").json()["problems"]
            metrics = client.get("/metrics", timeout=PATIENCE).text
        return Told(exits, wrong, page, problems, metrics)


def ready(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Told, Told]]:
    """What is told after the seventh day, on which nothing went wrong, and after the eighth."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("drill") / "home")
    with (settings.home / "playhead.toml").open("a") as file:
        file.write(
            # The lake waits for checkpoints and the batch is not run: that they are late is no part of the drill.
            "refresh = 1\n"
            '[freshness]\nlake = "P1D"\ncheckpoint = "P1D"\nwatermark = "P1D"\nbatch = "P30D"\nconsumer_records = 500\n'
        )
    with ExitStack() as cleanup:
        drill = Drill(settings, cleanup)
        cleanup.callback(drill.run, "down")
        drill.must("up")
        drill.must("features", "apply")
        drill.must("stream", "start")
        writer = drill.background("write-online")
        drill.background("report", "--serve", "--port", settings.report.port)
        drill.send(FIRST, DAYS - 1)
        # Not on the first days: lists of the last tracks are still growing then, which is drift.
        drill.serve([FIRST + n * DAY for n in range(3, DAYS - 1)])
        assert eventually(lambda: ready(f"http://127.0.0.1:{settings.report.port}/healthz"))
        assert eventually(lambda: drill.run("check", "freshness").returncode == 0, 2 * PATIENCE)
        clean = drill.told(LAST - DAY)
        # A writer that is stuck, not gone.
        os.kill(writer.pid, signal.SIGSTOP)
        cleanup.callback(os.kill, writer.pid, signal.SIGCONT)
        drill.send(LAST, 1, "--plant", "all")
        drill.serve([LAST])
        yield clean, drill.told(LAST)
    assert left_running(settings.home) == []


def test_a_day_on_which_nothing_went_wrong_has_nothing_to_tell(days: tuple[Told, Told]) -> None:
    clean, _ = days
    assert clean.exits == dict.fromkeys(CHECKS, 0)
    assert clean.wrong == {}
    assert clean.problems == []
    assert 'playhead_check_ok{check="quality"' in clean.metrics
    assert not [line for line in clean.metrics.splitlines() if line.startswith("playhead_check_ok") and " 0.0" in line]


PLANTED = {
    "null-burst": ("quality", "events", "null_rise(artist_id)"),
    "doubled-partition": ("quality", "events", "doubled"),
    "catalogue-gap": ("quality", "events", "known(track)"),
    "shifted": ("drift", "listener__skip_rate_1h", "psi"),
    "volume-drop": ("quality", "events", "volume"),
    "poisoned-producer": ("accounts", "events", "refused"),
    "stalled writer": ("freshness", WRITER, "records"),
}
HOURS = {
    "null-burst": 3,
    "doubled-partition": 6,
    "catalogue-gap": 9,
    "shifted": 0,
    "volume-drop": 18,
    "poisoned-producer": 21,
}


@pytest.mark.parametrize("defect", PLANTED)
def test_what_went_wrong_is_told_with_its_place_and_its_hour(days: tuple[Told, Told], defect: str) -> None:
    _, bad = days
    about = PLANTED[defect]
    check, subject, measure = about
    assert bad.exits[check] == 1
    assert about in bad.wrong, sorted(bad.wrong)
    if defect in HOURS:
        since = bad.wrong[about].since
        assert since is not None
        # Of a volume the hours before tell no less: it is searched in several hours in a row.
        assert abs(since - (MIDNIGHT + timedelta(hours=HOURS[defect]))) <= timedelta(hours=2 * (measure == "volume"))
    label = f'check="{check}",measure="{measure}",subject="{subject}"'
    assert f"playhead_check_ok{{{label}}} 0.0" in bad.metrics
    assert f"playhead_check_since_timestamp_seconds{{{label}}}" in bad.metrics
    assert subject.replace("_", "_<wbr>") in bad.page or subject in bad.page
    own = [str(problem) for problem in bad.problems if problem["title"].startswith(check.capitalize())]
    assert any(plain(measure) in problem for problem in own), own


def test_the_page_says_who_is_affected(days: tuple[Told, Told]) -> None:
    _, bad = days
    assert SERVICE in bad.page and "artist__plays_1h".replace("_", "_<wbr>") in bad.page


def test_what_no_defect_has_touched_has_not_drifted(days: tuple[Told, Told]) -> None:
    _, bad = days
    drifted = {subject for check, subject, measure in bad.wrong if (check, measure) == ("drift", "psi")}
    assert "listener__skip_rate_1h" in drifted
    assert not {name for name in drifted if name.startswith(("item__", "track_item__", "listener__likes"))}
