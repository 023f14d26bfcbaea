"""Every error that playhead raises on purpose.

PlayheadError
├── ConfigError        a setting is missing or wrong
├── DeclarationError   a feature, group or service is declared wrong
├── UnsupportedError   an engine cannot do what the plan asks
├── InputError         a file or a spine cannot be used
├── UnknownName        no such group, feature, service or reason
├── StackError         a part of the local stack does not start, stop or answer
├── DependencyError    a tool or a jar is missing
└── QualityError       a quality gate refused a publish
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PlayheadError(Exception):
    """Base class: what went wrong, and a hint what to do.

    Args:
        message: what, where, what was got and what is allowed, in one line.
        hint: what the reader can do about it.

    >>> str(PlayheadError("port 19092 is taken", hint="set PLAYHEAD_KAFKA__PORT"))
    'port 19092 is taken — hint: set PLAYHEAD_KAFKA__PORT'
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message} — hint: {hint}")


class ConfigError(PlayheadError):
    """A setting is missing or wrong."""


class DeclarationError(PlayheadError):
    """A feature, group or service is declared wrong."""


class UnsupportedError(PlayheadError):
    """An engine cannot do what the plan asks; raised when the plan is compiled."""


class InputError(PlayheadError):
    """A file, a row or a spine cannot be used."""


class StackError(PlayheadError):
    """A part of the local stack does not start, stop or answer."""


class DependencyError(PlayheadError):
    """A tool or a jar that playhead runs is missing."""


class QualityError(PlayheadError):
    """A quality gate refused a publish."""


class UnknownName(PlayheadError):
    """A name that is not among the known ones; the hint is the nearest of them.

    >>> str(UnknownName("feature", "skiped", ["skipped", "plays"]))
    "unknown feature 'skiped'; known: plays, skipped — hint: did you mean 'skipped'?"
    """

    def __init__(self, kind: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"unknown {kind} {got!r}; known: {', '.join(names) or 'none'}", hint=did_you_mean(got, names))


def did_you_mean(got: str, known: Iterable[str]) -> str | None:
    """The nearest of the known names as a question; None when none is near."""
    near = difflib.get_close_matches(got, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
