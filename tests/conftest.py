"""Fixtures that need an engine. They start it once for all tests, and stop it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from playhead import stack as local_stack
from playhead.config import LOCALHOST, Settings, load_settings

# How long an example takes says more of the machine than of the code.
hypothesis_settings.register_profile(
    "playhead", hypothesis_settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("playhead")


def own_ports() -> Iterator[int]:
    """Ports below those that the system gives to connections and to port 0, in any order, again and again.

    Processes of one run have different ones: between the look whether one is free and its use lies some time.
    """
    ports = range(20_000, 32_000)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = ports[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    yield from cycle(random.sample(own, len(own)))


PORTS = own_ports()

ENGINES = ("spark", "stack")
LONGEST = (*ENGINES, "tests/e2e/test_demo.py", "made_up")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For a run in several processes: say which tests stay in one, and let the longest begin.

    Together are the tests of a file, and the files of which a test uses an engine that is started for the session.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    engines = {item.path: name for item in items for name in ENGINES if name in getattr(item, "fixturenames", ())}
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            own = item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(engines.get(item.path, own)))
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.get_closest_marker("xdist_group").args[0], len(rank)))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, and that no test was given lately."""
    found: list[int] = []
    for port in islice(PORTS, 1_000):
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
    try:
        local_stack.start(settings)
        yield settings
    finally:
        local_stack.stop(settings)
