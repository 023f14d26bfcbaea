"""Bring servers up together, take them down, and tell how they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from playhead.errors import StackError
from playhead.stack.ports import check_distinct, check_free
from playhead.stack.process import Record, Slot, alive, exclusive
from playhead.stack.server import Server, Unanswered

_POLL_SECONDS = 0.2

Progress = Callable[[str, str], None]
"""Called with a process's name and what happens to it: `starting`, `running`, `stopped`; from several threads."""


State = Literal["running", "stopped", "crashed"]


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    """How one process of the stack is.

    Attributes:
        name: `kafka`, `redis`, `jobmanager` or `taskmanager`.
        state: `running` only when it answers its protocol; `crashed` when it was started but does not, and in
            `cluster` mode when the address does not.
        pid: null when it does not run, and in `cluster` mode.
        address: where clients reach it.
        detail: what it answered, or what is wrong.
        log: its output; null in `cluster` mode.
    """

    name: str
    state: State
    pid: int | None
    address: str
    detail: str
    log: Path | None


def bring_up(servers: Sequence[Server], home: Path, progress: Progress) -> None:
    """Start in parallel what does not run, and wait until each server answers. See `playhead.stack.start`."""
    check_distinct(port for server in servers for port in server.ports)
    home.mkdir(parents=True, exist_ok=True)
    with exclusive(_lock(home)):
        records = [_record_of_running(server, home) for server in servers]
        new = [server for server, record in zip(servers, records, strict=True) if record is None]
        for server in new:
            for port in server.ports:
                check_free(port)
        try:
            _start_and_wait(servers, records, home, progress)
        except BaseException:
            _stop(new, home, lambda _name, _event: None)
            raise


def take_down(servers: Sequence[Server], home: Path, progress: Progress) -> list[str]:
    """Stop the servers in parallel; return the names of those that ran."""
    if not home.is_dir():
        return []
    with exclusive(_lock(home)):
        return _stop(servers, home, progress)


def look(server: Server, home: Path) -> PartStatus:
    """How the server's process is, as recorded in the home and as it answers."""
    slot = Slot(name=server.name, home=home)
    record = slot.read()
    pid = record.pid if record and alive(record) else None
    state: State = "stopped"
    detail = "not started"
    if pid is not None:
        state, detail = _ask(server, pid)
    elif record is not None:
        state, detail = "crashed", f"process {record.pid} is gone"
    address = record.address if record else server.address
    return PartStatus(name=server.name, state=state, pid=pid, address=address, detail=detail, log=slot.log)


def look_from_afar(server: Server) -> PartStatus:
    """How the server at the address is, whoever started it."""
    state, detail = _ask(server, None)
    return PartStatus(name=server.name, state=state, pid=None, address=server.address, detail=detail, log=None)


def _lock(home: Path) -> Path:
    """One `up` or `down` at a time in a home."""
    return home / "stack.lock"


def _ask(server: Server, pid: int | None) -> tuple[State, str]:
    try:
        return "running", server.probe(pid)
    except Unanswered as error:
        return "crashed", str(error)


def _record_of_running(server: Server, home: Path) -> Record | None:
    """The record of the server's process; None, after clearing up what a crash left, when it does not run."""
    slot = Slot(name=server.name, home=home)
    record = slot.read()
    if record is None:
        return None
    if not alive(record):
        slot.stop(patience=server.patience)
        return None
    if record.address != server.address:
        raise StackError(
            f"{server.name} runs at {record.address} (pid {record.pid}), the settings say {server.address}",
            hint="`playhead down` first",
        )
    return record


def _start_and_wait(
    servers: Sequence[Server], records: Sequence[Record | None], home: Path, progress: Progress
) -> None:
    failed = Event()

    def bring(server: Server, record: Record | None) -> None:
        slot = Slot(name=server.name, home=home)
        try:
            if record is None:
                progress(server.name, "starting")
                record = slot.spawn(server.prepare(), server.address)
            _wait(server, slot, record, failed)
            if not failed.is_set():
                server.finish()
                progress(server.name, "running")
        except BaseException:
            # The others need not wait until their deadlines.
            failed.set()
            raise

    with ThreadPoolExecutor(len(servers)) as pool:
        futures = [pool.submit(bring, server, record) for server, record in zip(servers, records, strict=True)]
        try:
            for future in futures:
                future.exception()
        except KeyboardInterrupt:
            failed.set()
            raise
    for future in futures:
        future.result()


def _wait(server: Server, slot: Slot, record: Record, failed: Event) -> None:
    """Poll until the server answers, its process ends, its deadline passes, or another server has failed."""
    seconds = server.deadline.total_seconds()
    deadline = time.monotonic() + seconds
    while not failed.wait(_POLL_SECONDS):
        try:
            server.probe(record.pid)
            return
        except Unanswered as error:
            if not alive(record):
                problem = f"{server.name} ended while it started"
            elif time.monotonic() > deadline:
                problem = f"{server.name} did not answer within {seconds:g} s: {error}"
            else:
                continue
            raise StackError(f"{problem}\n{slot.tail()}", hint=f"its log is {slot.log}") from error


def _stop(servers: Sequence[Server], home: Path, progress: Progress) -> list[str]:
    def halt(server: Server) -> str | None:
        if not Slot(name=server.name, home=home).stop(patience=server.patience):
            return None
        progress(server.name, "stopped")
        return server.name

    if not servers:
        return []
    with ThreadPoolExecutor(len(servers)) as pool:
        return [name for name in pool.map(halt, servers) if name is not None]
