"""Several server processes on one port: started, watched, and stopped by the one that holds the port.

Each listens by itself (SO_REUSEPORT), once it can serve; the kernel shares out connections among those that listen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import structlog
from prometheus_client.multiprocess import mark_process_dead

from playhead.config import Settings
from playhead.errors import StackError

log = structlog.get_logger()

_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2
_SETTLED_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_EARLY_ENDS = 5


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[bytes]
    started_s: float


class Workers:
    """The processes.

    Args:
        settings: `serve.workers` says how many.
        folder: where they keep their metrics.
        clock_offset_s: how far their clock is ahead of the wall clock.
    """

    def __init__(self, settings: Settings, folder: Path, clock_offset_s: float) -> None:
        self._folder = folder
        arguments = ["--metrics", folder, f"--clock-offset-s={clock_offset_s}", "--parent", os.getpid()]
        start = "from playhead.cli import main; main()"
        self._argv = [sys.executable, "-c", start, "serve-worker", *map(str, arguments)]
        # prometheus_client reads it when it is imported.
        self._env = {**os.environ, **settings.environment(), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        self._count = settings.serve.workers
        self._early = 0

    def run(self, stop: Event) -> int:
        """Keep them running until told to stop; then stop them.

        Returns:
            How often one was started again.

        Raises:
            StackError: they end as soon as they start.
        """
        workers: list[_Worker] = []
        restarts = 0
        try:
            workers += [self._start() for _ in range(self._count)]
            while not stop.wait(_POLL_SECONDS):
                for place, worker in enumerate(workers):
                    if worker.process.poll() is not None and self._take_leave(worker, stop):
                        workers[place] = self._start()
                        restarts += 1
        finally:
            self._stop([worker.process for worker in workers])
        return restarts

    def _start(self) -> _Worker:
        process = subprocess.Popen(self._argv, env=self._env, stdin=subprocess.DEVNULL)
        log.info("worker started", pid=process.pid)
        return _Worker(process, time.monotonic())

    def _take_leave(self, worker: _Worker, stop: Event) -> bool:
        """Note that a worker ended by itself; whether another is wanted in its place."""
        pid, code = worker.process.pid, worker.process.returncode
        log.error("worker ended", pid=pid, exit_code=code)
        mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        if time.monotonic() > worker.started_s + _SETTLED_SECONDS:
            self._early = 0
            return True
        self._early += 1
        if self._early >= _EARLY_ENDS:
            raise StackError(
                f"{self._early} workers in a row ended within {_SETTLED_SECONDS:.0f} s of their start, "
                f"the last with exit code {code}",
                hint="the reason is in the log above",
            )
        return not stop.wait(_PAUSE_SECONDS)

    def _stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """End them, each with its requests answered and its log sent; kill who does not end in time."""
        for process in processes:
            process.terminate()
        deadline_s = time.monotonic() + _GRACE_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker killed", pid=process.pid, seconds=_GRACE_SECONDS)
                process.kill()
                process.wait()
