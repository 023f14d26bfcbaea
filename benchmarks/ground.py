"""Where benchmarks run: a stack of their own, in a temporary home, on free ports, gone at the end."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from playhead import stack
from playhead.config import LOCALHOST, Settings, load_settings
from playhead.declarations import load_declarations
from playhead.ingest.catalogue import MADE_UP_TRACKS, make_catalogue, write_catalogue
from playhead.ingest.generator import GeneratorConfig
from playhead.serving.dimension_table import load_dimension
from playhead.stack.kafka import create_topics

_FLINK = {"task_manager_memory_mb": 4096, "checkpoint_interval": timedelta(seconds=30)}
"""As a production job: room for the state of a day, and no checkpoint every few seconds for a reader who waits."""

Say = Callable[[str], None]
"""Tells the reader what happens."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A running stack.

    Attributes:
        settings: whose.
        task_manager_pid: the process whose CPU time, with its Python workers', is a job's cost.
        say: progress, for a person to read.
    """

    settings: Settings
    task_manager_pid: int
    say: Say

    def apart(self, name: str) -> Settings:
        """Settings for one measurement: the same stack, topics and a lake of its own. The topics are created, and the
        dimension of the generator's tracks is loaded.
        """
        kafka = self.settings.kafka
        topics = {field: f"{name}.{getattr(kafka, field)}" for field in type(kafka).model_fields if "_topic" in field}
        own = self.settings.model_copy(
            update={"kafka": kafka.model_copy(update=topics), "lake_path": self.settings.home / "lakes" / name}
        )
        create_topics(own.kafka)
        made_up, tracks = GeneratorConfig(), self.settings.home / MADE_UP_TRACKS
        write_catalogue(make_catalogue(made_up.tracks, made_up.seed), tracks)
        load_dimension(own, load_declarations(), "track", [tracks])
        return own


@contextlib.contextmanager
def open_ground(say: Say) -> Iterator[Ground]:
    """Start a stack; stop it and delete its home at the end, also after an error or Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="playhead-bench-", ignore_cleanup_errors=True) as folder:
        settings = on_free_ports(load_settings(Path(folder)))
        settings = settings.model_copy(update={"flink": settings.flink.model_copy(update=_FLINK)})
        say(f"starting the stack in {folder}")
        try:
            parts = stack.start(settings)
            pid = next(part.pid for part in parts if part.name == "taskmanager")
            yield Ground(settings=settings, task_manager_pid=pid or 0, say=say)
        finally:
            say("stopping the stack")
            stack.stop(settings)


def on_free_ports(settings: Settings) -> Settings:
    """The same settings, with ports that nobody listens on at the moment."""
    ports = iter(free_ports(7))
    return settings.model_copy(
        update={
            section: getattr(settings, section).model_copy(update={name: next(ports) for name in names})
            for section, names in {
                "kafka": ("port", "controller_port"),
                "redis": ("port",),
                "flink": ("rest_port", "rpc_port"),
                "serve": ("port", "writer_metrics_port"),
            }.items()
        }
    )


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind((LOCALHOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]
