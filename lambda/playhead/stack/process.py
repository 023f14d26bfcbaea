"""Long-running child processes that outlive the command that started them.

A process is known by a record in `home/run/`: its pid *and* its birth, so that a pid that the system has given to a
stranger since is never signalled. Each process leads its own session and carries a mark in its environment; what it
leaves behind (Flink's Python workers, after a `kill -9`) is found by both.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_MARK = "_PLAYHEAD_PART"
_POLL_SECONDS = 0.05
# Field 22 of /proc/PID/stat (man 5 proc), counted from behind the name, which is field 2 and may hold anything.
_START_TICK = 22 - 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run: the arguments, and what is added to the environment."""

    argv: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A process that was started: pid, birth (see `birth_of`) and the address that it was told to serve."""

    pid: int
    birth: str | None
    address: str


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Where one named process keeps its record and its log."""

    name: str
    home: Path

    @property
    def record_file(self) -> Path:
        """The record of the process; there is none after a clean stop."""
        return self.home / "run" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Standard output and error of the process; the previous run's is kept beside it as `.1`."""
        return self.home / "logs" / f"{self.name}.log"

    def read(self) -> Record | None:
        """The record, or None when nothing was started; a torn record counts as none."""
        try:
            return Record(**json.loads(self.record_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def spawn(self, command: Command, address: str) -> Record:
        """Start the process detached, in its own session, with its output in the log."""
        for folder in (self.record_file.parent, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # posix_spawn, not Popen: nobody waits for the process, and a Popen object would want to.
        pid = os.posix_spawnp(
            command.argv[0],
            list(command.argv),
            {**os.environ, **command.env, _MARK: self._mark},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), write, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
        )
        record = Record(pid=pid, birth=birth_of(pid), address=address)
        self.record_file.write_text(json.dumps(asdict(record)))
        return record

    def stop(self, *, patience: timedelta) -> bool:
        """Stop the process and what it left behind, and forget it.

        Args:
            patience: how long it may take to end by itself after SIGTERM before it is killed.

        Returns:
            Whether a running process was stopped.
        """
        record = self.read()
        if record is None:
            return False
        was_alive = alive(record)
        if was_alive:
            _signal(record.pid, signal.SIGTERM)
            if not _ended(record, patience):
                _signal(record.pid, signal.SIGKILL)
                _ended(record, timedelta(seconds=10))
        for pid in self._orphans(record):
            _signal(pid, signal.SIGKILL)
        self.record_file.unlink(missing_ok=True)
        return was_alive

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log; empty without one."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    @property
    def _mark(self) -> str:
        return str(self.record_file)

    def _orphans(self, record: Record) -> list[int]:
        """Processes of the session that the ended process led."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                ours = os.getsid(process.pid) == record.pid and process.environ().get(_MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found


@contextlib.contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Hold the lock file while the block runs; wait for other threads and processes that hold it."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def alive(record: Record) -> bool:
    """Whether the recorded process still runs: the same pid, born at the same time, and not a zombie."""
    if record.birth is None or birth_of(record.pid) != record.birth:
        return False
    try:
        if psutil.Process(record.pid).status() != psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return False
    # A child of this very process stays a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)
    return False


def birth_of(pid: int) -> str | None:
    """What no two processes with this pid share; None when there is no such process.

    Where `/proc` has it: the boot and the clock tick of the start, which a change of the wall clock does not move.
    """
    stat, boot = Path(f"/proc/{pid}/stat"), Path("/proc/sys/kernel/random/boot_id")
    try:
        if boot.exists():
            after_name = stat.read_text().rpartition(")")[2].split()
            return f"{boot.read_text().strip()} {after_name[_START_TICK]}"
        return str(psutil.Process(pid).create_time())
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ended(record: Record, patience: timedelta) -> bool:
    deadline = time.monotonic() + patience.total_seconds()
    while alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
