"""From which state the speed job goes on; with Flink's command line and REST API played by the test."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from playhead.config import Settings
from playhead.speed import cluster
from playhead.stack.process import Command

SAVEPOINT = "file:/savepoints/savepoint-1"


class FakeFlink:
    """A cluster that takes every job; `states` has what each was started from."""

    def __init__(self) -> None:
        self.states: list[str | None] = []
        self.running: str | None = None
        self.not_running_yet = 0

    def run(self, argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.states.append(argv[argv.index("-s") + 1] if "-s" in argv else None)
        self.running = f"{len(self.states):032x}"
        return subprocess.CompletedProcess(argv, 0, f"Job has been submitted with JobID {self.running}", "")

    def call(self, _settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if method == "POST":
            assert body is not None and body["drain"] is False
            assert not self.not_running_yet, "Flink refuses a savepoint before all tasks run"
            return {"request-id": "r"}
        if path.endswith("/savepoints/r"):
            self.running = None
            return {"status": {"id": "COMPLETED"}, "operation": {"location": SAVEPOINT}}
        if path == "jobs/overview":
            jobs = [{"jid": self.running, "name": cluster.JOB_NAME, "state": "RUNNING", "start-time": 1}]
            return {"jobs": jobs if self.running else []}
        status = "DEPLOYING" if self.not_running_yet else "RUNNING"
        self.not_running_yet -= bool(self.not_running_yet)
        return {
            "latest": {"completed": None},
            "counts": {"restored": 0},
            "exceptionHistory": {"entries": []},
            "vertices": [{"id": "v", "status": status}],
        }


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> FakeFlink:
    fake = FakeFlink()
    monkeypatch.setattr(cluster, "_call", fake.call)
    monkeypatch.setattr(cluster, "_watermark", lambda *_: None)
    monkeypatch.setattr(cluster, "flink_command", lambda _settings, *arguments: Command(argv=arguments, env={}))
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake


def checkpoint(settings: Settings, job_id: str | None, number: int) -> str:
    folder: Path = settings.home / "flink" / "checkpoints" / str(job_id) / f"chk-{number}"
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    return folder.as_uri()


def test_the_first_job_starts_from_nothing_and_a_running_one_is_left_alone(
    flink: FakeFlink, settings: Settings
) -> None:
    assert cluster.start(settings) == cluster.start(settings)
    assert flink.states == [None]


def test_a_stopped_job_goes_on_from_its_savepoint(flink: FakeFlink, settings: Settings) -> None:
    checkpoint(settings, cluster.start(settings), 7)
    assert cluster.stop(settings) == SAVEPOINT
    cluster.start(settings)
    assert flink.states == [None, SAVEPOINT]


def test_a_lost_job_goes_on_from_its_newest_checkpoint(flink: FakeFlink, settings: Settings) -> None:
    job_id = cluster.start(settings)
    newest = [checkpoint(settings, job_id, number) for number in (9, 10)][-1]
    flink.running = None
    cluster.start(settings)
    assert flink.states == [None, newest]


def test_a_job_lost_before_its_first_checkpoint_goes_on_from_where_it_started(
    flink: FakeFlink, settings: Settings
) -> None:
    cluster.start(settings)
    cluster.stop(settings)
    for _ in range(2):
        cluster.start(settings)
        flink.running = None
    assert flink.states == [None, SAVEPOINT, SAVEPOINT]


def test_a_fresh_start_forgets(flink: FakeFlink, settings: Settings) -> None:
    cluster.start(settings)
    cluster.stop(settings)
    for _ in range(2):
        cluster.start(settings, fresh=True)
        flink.running = None
    cluster.start(settings)
    assert flink.states == [None, None, None, None]


def test_a_stop_right_after_the_start_waits_until_the_tasks_run(flink: FakeFlink, settings: Settings) -> None:
    cluster.start(settings)
    flink.not_running_yet = 3
    assert cluster.stop(settings) == SAVEPOINT


def test_without_a_job_there_is_nothing_to_stop(flink: FakeFlink, settings: Settings) -> None:
    assert cluster.stop(settings) is None
