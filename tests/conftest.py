"""Fixtures that need an engine. They start it once for all tests, and stop it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from playhead import stack as local_stack
from playhead.config import LOCALHOST, Settings, load_settings


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below those that the system gives to connections and to port 0."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOCALHOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} free ports among a thousand")


def settings_on_free_ports(home: Path) -> Settings:
    """Settings of a home whose `playhead.toml` has free ports, so that commands with `--home` find them too."""
    kafka, controller, redis, rest, rpc, serve, metrics = free_ports(7)
    home.mkdir(parents=True, exist_ok=True)
    (home / "playhead.toml").write_text(
        f"[kafka]\nport = {kafka}\ncontroller_port = {controller}\n"
        f"[redis]\nport = {redis}\n"
        f"[flink]\nrest_port = {rest}\nrpc_port = {rpc}\n"
        # A test that is not about time must not be decided by it.
        f"[serve]\nport = {serve}\nwriter_metrics_port = {metrics}\nbudget = 30\n"
    )
    return load_settings(home)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_in_environment() -> Iterator[None]:
    """A developer's own PLAYHEAD_… variables must not reach a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PLAYHEAD_")]:
            patch.delenv(name)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home where nothing runs, on free ports."""
    return settings_on_free_ports(tmp_path / "home")


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a home whose Redis runs."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("online") / "home")
    try:
        local_stack.start(settings, ("redis",))
        yield settings
    finally:
        local_stack.stop(settings)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a running Kafka, Redis and Flink, in a home of their own."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("stack") / "home")
    [metrics] = free_ports(1)
    settings = settings.model_copy(update={"flink": settings.flink.model_copy(update={"metrics_port": metrics})})
    try:
        local_stack.start(settings)
        yield settings
    finally:
        local_stack.stop(settings)
