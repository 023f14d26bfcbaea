"""What the stack knows about one of its processes, whichever engine it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from playhead.errors import StackError
from playhead.stack.ports import Port
from playhead.stack.process import Command


class Unanswered(StackError):
    """A process, or the server at an address, does not answer its protocol, or not yet."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Server:
    """One process of the stack.

    Attributes:
        name: as in `playhead status`, `home/run/NAME.json` and `home/logs/NAME.log`.
        address: where clients reach it.
        ports: what must be free before it starts.
        prepare: checks what it depends on, writes its configuration, and says how to run it.
        probe: sends a real request; takes the pid (None in `cluster` mode), returns a detail worth showing.
            Raises `Unanswered`.
        finish: what is left to do once it answers.
        deadline: how long it may take until it answers.
        patience: how long it may take to end after SIGTERM.
    """

    name: str
    address: str
    ports: tuple[Port, ...]
    prepare: Callable[[], Command]
    probe: Callable[[int | None], str]
    finish: Callable[[], object] = _nothing
    deadline: timedelta = timedelta(seconds=120)
    patience: timedelta = timedelta(seconds=30)
