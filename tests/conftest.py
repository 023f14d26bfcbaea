"""Fixtures that need an engine. They start it once for all tests, and stop it."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import prometheus_client as prometheus_client  # before Feast, which sets PROMETHEUS_MULTIPROC_DIR when it is imported
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from playhead import stack as local_stack
from playhead.config import LOCALHOST, Settings, load_settings

# Spark Connect, which Great Expectations imports, takes a main module without a file for its own doctests and ends the
# process: the workers of a run in several processes have such a one.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__

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

# For a run in several processes. What is together shares the Spark or the stack of the session: a file that is missing
# here costs the start of another, and nothing else.
TOGETHER: dict[str, tuple[str, ...]] = {
    "spark": (
        "tests/test_batch.py",
        "tests/test_batch_labels.py",
        "tests/test_asof_spark.py",
        "tests/test_evaluate.py",
        "tests/test_quality.py",
        "tests/parity/test_spark.py",
    ),
    "stack": (
        "tests/stack/",
        "tests/test_stack.py",
        "tests/test_serving_stack.py",
        "tests/test_report_stack.py",
        "tests/test_ingest_replay.py",
        "tests/test_feast_repo.py",
    ),
    "demo": ("tests/e2e/test_demo.py",),
    "drill": ("tests/e2e/test_drill.py",),
}
LONGEST = ("spark", "stack", "demo", "drill", "made_up")


def group_of(nodeid: str) -> str:
    """Which tests run in one process: those of files that are together, of one demo, or of a file."""
    if "made_up" in nodeid and nodeid.startswith(TOGETHER["demo"]):
        return "made_up"
    groups = (name for name, files in TOGETHER.items() if nodeid.startswith(files))
    return next(groups, nodeid.partition("::")[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest begin, so that the short ones fill the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(rank)))


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process a group at a time. Not xdist's own `loadgroup`: its marks do nothing with pytest 9.2
    (https://github.com/pytest-dev/pytest-xdist/issues/1386)."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """Distribute by `group_of`."""
    return Together(config, log)


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
    kafka, controller, redis, rest, rpc, serve, writer, metrics, report = free_ports(9)
    home.mkdir(parents=True, exist_ok=True)
    (home / "playhead.toml").write_text(
        f"[kafka]\nport = {kafka}\ncontroller_port = {controller}\n"
        f"[redis]\nport = {redis}\n"
        f"[flink]\nrest_port = {rest}\nrpc_port = {rpc}\n"
        # A test that is not about time must not be decided by it.
        f"[serve]\nport = {serve}\nwriter_metrics_port = {writer}\nbudget = 30\n"
        f"[metrics]\nport = {metrics}\n"
        f"[report]\nport = {report}\n"
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
