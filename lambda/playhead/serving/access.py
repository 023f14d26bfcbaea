"""Who may ask the feature server."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from playhead.config import ServeSettings
from playhead.errors import ConfigError, PlayheadError

_FEWEST_CHARACTERS = 16
_BEARER = HTTPBearer(auto_error=False, description="One of `serve.tokens`, when there are any.")


class NoAccess(PlayheadError):
    """A request without a token, or with one that is not known."""


class Access:
    """A dependency that lets in whoever has one of the tokens; everybody, when there are none.

    Raises:
        NoAccess: see there.
    """

    def __init__(self, tokens: Sequence[SecretStr]) -> None:
        self._tokens = [token.get_secret_value().encode() for token in tokens]

    async def __call__(self, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
        if not self._tokens:
            return
        got = given.credentials.encode() if given else b""
        # All are compared, each in constant time: how long it takes says nothing of them.
        if True not in [hmac.compare_digest(got, token) for token in self._tokens]:
            raise NoAccess("no valid token", hint="send the header Authorization: Bearer TOKEN")


def check_access(settings: ServeSettings) -> None:
    """Refuse settings that would let strangers in.

    Raises:
        ConfigError: a host that others can reach without tokens, or a token that can be guessed.
    """
    if not settings.tokens and not _is_loopback(settings.host):
        raise ConfigError(
            f"serve.host is {settings.host!r}, which others can reach, and there are no serve.tokens",
            hint="""set PLAYHEAD_SERVE__TOKENS='["…"]', or serve.host to 127.0.0.1""",
        )
    if any(len(token.get_secret_value()) < _FEWEST_CHARACTERS for token in settings.tokens):
        raise ConfigError(
            f"serve.tokens: a token has fewer than {_FEWEST_CHARACTERS} characters",
            hint="`openssl rand -hex 32` makes one",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
