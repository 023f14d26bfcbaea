"""A repair: a function of the reader's own that makes a right message of a broken one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from playhead.dlq.letters import Letter
from playhead.errors import InputError

Repair: TypeAlias = Callable[[bytes], bytes | None]
"""The bytes of a message in, those of a right one out; None leaves it as it is."""


def load_repair(name: str) -> Repair:
    """A repair from a file.

    Args:
        name: FILE.py:FUNCTION. The file's code is run.

    Raises:
        InputError: there is no such file or function, or the file's code fails.
    """
    path, _, function = name.rpartition(":")
    spec = importlib.util.spec_from_file_location("playhead_repair", path) if Path(path).is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"repair {name!r}: expected FILE.py:FUNCTION of a file that exists")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the reader's own code raises
        raise InputError(f"repair {name!r}: {path}: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"repair {name!r}: {path} has no function {function!r}")
    repair: Repair = found
    return repair


def repaired(repair: Repair, letter: Letter) -> bytes | None:
    """What a repair makes of a letter.

    Raises:
        InputError: it raises, or gives something else than bytes or None.
    """
    try:
        payload: Any = repair(letter.payload)
    except Exception as error:  # whatever the reader's own code raises
        raise InputError(f"repair of {letter.place}: {type(error).__name__}: {error}", hint=_HINT) from error
    if payload is not None and not isinstance(payload, bytes):
        raise InputError(f"repair of {letter.place}: got {type(payload).__name__}, allowed: bytes or None", hint=_HINT)
    return payload


_HINT = "letters that were sent before it stay sent; run it again when the function is right"
