"""The parts of the stack by name, and what may be done with them in which mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from playhead.config import LOCALHOST, Settings
from playhead.errors import ConfigError, UnknownName
from playhead.stack import flink, kafka, redis
from playhead.stack.server import Server
from playhead.stack.supervisor import PartStatus, Progress, bring_up, look, look_from_afar, take_down

PARTS: Mapping[str, Callable[[Settings], tuple[Server, ...]]] = MappingProxyType(
    {
        "kafka": lambda settings: (kafka.server(settings),),
        "redis": lambda settings: (redis.server(settings),),
        "flink": lambda settings: (flink.job_manager(settings), flink.task_manager(settings)),
    }
)
"""What can be started by name, and the processes that it is."""


def start(
    settings: Settings, parts: Iterable[str] = tuple(PARTS), progress: Progress = lambda _name, _event: None
) -> list[PartStatus]:
    """Start what does not run, all at once, and wait until each part answers.

    A part that runs is left alone, a crashed one is started again. When one fails, what this call started is stopped.

    Args:
        settings: in `local` mode.
        parts: names of `PARTS`.
        progress: told what happens.

    Returns:
        One status per process.

    Raises:
        ConfigError: the settings are for a cluster, or contradict each other.
        DependencyError: Java, a jar or a server is missing.
        StackError: a port is taken, or a part does not come up; with the end of its log.
        UnknownName: no such part.
    """
    _check_local(settings, "up")
    servers = _servers(settings, parts)
    bring_up(servers, settings.home, progress)
    return _look_at(servers, settings)


def stop(settings: Settings, progress: Progress = lambda _name, _event: None) -> list[str]:
    """Stop every part; return the names of the processes that ran.

    Raises:
        ConfigError: the settings are for a cluster.
    """
    _check_local(settings, "down")
    return take_down(_servers(settings, PARTS), settings.home, progress)


def status(settings: Settings, parts: Iterable[str] = tuple(PARTS)) -> list[PartStatus]:
    """Ask every part; one status per process. In `cluster` mode the configured addresses are asked."""
    return _look_at(_servers(settings, parts), settings)


def _servers(settings: Settings, parts: Iterable[str]) -> list[Server]:
    servers: list[Server] = []
    for part in parts:
        if part not in PARTS:
            raise UnknownName("part of the stack", part, PARTS)
        servers.extend(PARTS[part](settings))
    return servers


def _look_at(servers: list[Server], settings: Settings) -> list[PartStatus]:
    def ask(server: Server) -> PartStatus:
        return look_from_afar(server) if settings.mode == "cluster" else look(server, settings.home)

    with ThreadPoolExecutor(len(PARTS) + 1) as pool:
        return list(pool.map(ask, servers))


def _check_local(settings: Settings, command: str) -> None:
    if settings.mode == "cluster":
        raise ConfigError(
            f"mode is cluster: `{command}` is for the local stack only",
            hint="a cluster of your own is run apart from playhead; PLAYHEAD_MODE=local starts one here",
        )
    elsewhere = {
        "kafka.bootstrap_servers": settings.kafka.bootstrap_servers is not None,
        "kafka.security_protocol": settings.kafka.security_protocol != "PLAINTEXT",
        "redis.host": settings.redis.host != LOCALHOST,
        "redis.tls": settings.redis.tls,
        "flink.host": settings.flink.host != LOCALHOST,
    }
    if any(elsewhere.values()):
        names = ", ".join(name for name, is_set in elsewhere.items() if is_set)
        raise ConfigError(
            f"{names}: set, but mode is local, which starts its own servers", hint="PLAYHEAD_MODE=cluster"
        )
    if any(character.isspace() for character in str(settings.home)):
        raise ConfigError(f"home {str(settings.home)!r} has a space in its path, which Flink's scripts cannot handle")
