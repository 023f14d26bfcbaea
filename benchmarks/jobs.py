"""A job on the benchmark's cluster, ours or one to compare with: submit, see how far it is, cancel."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from playhead.config import Settings
from playhead.errors import StackError
from playhead.speed.cluster import reason_of
from playhead.stack.flink import flink_command, rest_url

_POLL_SECONDS = 0.25
_WATERMARK = "currentInputWatermark"


class Job:
    """A submitted job.

    Args:
        client: of Flink's REST API.
        job_id: Flink's id.
    """

    def __init__(self, client: httpx.Client, job_id: str) -> None:
        self.job_id = job_id
        self._client = client
        self._metrics: dict[str, list[str]] = {}

    def wait_until_read(self, event_time_ms: int, timeout: timedelta) -> None:
        """Wait until every operator, the sinks too, has come past the second of an event time, UTC epoch ms.

        Raises:
            StackError: the job failed, or the time is up.
        """
        end_ms = event_time_ms // 1000 * 1000 + 1000
        deadline = time.monotonic() + timeout.total_seconds()
        while (reached_ms := self._watermark_ms()) is None or reached_ms < end_ms:
            if time.monotonic() > deadline:
                raise StackError(f"the job came to event time {reached_ms} of {end_ms} in {timeout}")
            time.sleep(_POLL_SECONDS)

    def cancel(self) -> None:
        """Stop the job without a trace, and wait until it has ended."""
        self._client.patch(f"jobs/{self.job_id}", params={"mode": "cancel"}).raise_for_status()
        while self._get("")["state"] in ("RUNNING", "CANCELLING", "CREATED", "RESTARTING", "FAILING"):
            time.sleep(_POLL_SECONDS)

    def _watermark_ms(self) -> int | None:
        """The least watermark that any operator was given; None while one has none."""
        job = self._get("")
        if job["state"] not in ("CREATED", "RUNNING"):
            raise StackError(f"the job is {job['state']}: {self._failure()}")
        least: list[int] = []
        for vertex in job["vertices"]:
            least += self._watermarks(vertex["id"])
        return min(least) if least and min(least) > 0 else None

    def _watermarks(self, vertex: str) -> list[int]:
        """Those of a vertex's operators. Not the vertex's own, which is noted before its work is done."""
        path = f"vertices/{vertex}/subtasks/metrics"
        if not self._metrics.get(vertex):
            names = [str(metric["id"]) for metric in self._get(path)]
            self._metrics[vertex] = [name for name in names if name.endswith(f".{_WATERMARK}")]
        if not self._metrics[vertex]:
            return [0]
        found = self._get(path, get=",".join(self._metrics[vertex]), agg="min")
        return [int(float(metric["min"])) for metric in found]

    def _failure(self) -> str:
        entries = self._get("exceptions")["exceptionHistory"]["entries"]
        return str(entries[0]["stacktrace"])[:4000] if entries else "no exception is known"

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(f"jobs/{self.job_id}/{path}".rstrip("/"), params=parameters)
        answer.raise_for_status()
        return answer.json()


def environment_of(settings: Settings) -> dict[str, str]:
    """This process's environment with these settings in place of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")} | (
        settings.environment()
    )


@contextmanager
def running(settings: Settings, file: Path) -> Iterator[Job]:
    """Submit a PyFlink program; cancel its job at the end.

    Raises:
        StackError: Flink does not take it, or does not answer any more.
    """
    command = flink_command(settings, "run", "-d", "-py", str(file))
    environment = {**environment_of(settings), **command.env}
    done = subprocess.run(
        command.argv, env=environment, cwd=settings.project, capture_output=True, text=True, check=False
    )
    found = re.search(r"JobID ([0-9a-f]{32})", done.stdout)
    if done.returncode or found is None:
        raise StackError(f"Flink did not take {file}:\n{reason_of(done.stdout + done.stderr)}")
    with httpx.Client(base_url=rest_url(settings.flink), trust_env=False, timeout=30) as client:
        job = Job(client, found[1])
        try:
            yield job
        except httpx.HTTPError as error:
            raise StackError(f"Flink at {client.base_url}: {error}") from error
        finally:
            job.cancel()
