"""Ports: found taken before a server is started, and named by the setting that moves them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from playhead.config import LOCALHOST
from playhead.errors import ConfigError, StackError


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port on 127.0.0.1 and the setting that chooses it, e.g. `kafka.port`."""

    number: int
    setting: str

    @property
    def hint(self) -> str:
        """How to choose another one.

        >>> Port(number=19092, setting="kafka.port").hint
        'choose another with PLAYHEAD_KAFKA__PORT, or kafka.port in playhead.toml'
        """
        variable = "PLAYHEAD_" + self.setting.upper().replace(".", "__")
        return f"choose another with {variable}, or {self.setting} in playhead.toml"


def check_distinct(ports: Iterable[Port]) -> None:
    """Raise `ConfigError` when two settings choose the same port."""
    seen: dict[int, Port] = {}
    for port in ports:
        other = seen.setdefault(port.number, port)
        if other is not port:
            raise ConfigError(f"{other.setting} and {port.setting} are both {port.number}", hint=port.hint)


def check_free(port: Port) -> None:
    """Raise `StackError` when something listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of an earlier run that linger (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port.number))
        except OSError as error:
            raise StackError(
                f"port {port.number} ({port.setting}) cannot be used: {error.strerror}", hint=port.hint
            ) from error
