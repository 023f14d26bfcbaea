"""Results of stages and checks, kept as one JSON file each under `<home>/results/`.

A stage saves what it counted; the demo, the report page and on-call read it later. A file is replaced whole, so a
reader sees the old result or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playhead.config import Settings
from playhead.errors import InputError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def save(settings: Settings, name: str, payload: dict[str, Any], *, now: datetime | None = None) -> Path:
    """Replace the result called `name`.

    Args:
        settings: says where the home directory is; `results/` in it is made when absent.
        name: lower-case name of the stage or check (`replay`, `batch`, `skew` …).
        payload: plain JSON values. The key `at` is set to the moment of saving, ISO 8601 in UTC.
        now: that moment; the wall clock when None.

    Returns:
        The file that was written.

    Raises:
        InputError: a name that is no file name, or a payload that is no JSON.
    """
    path = _path(settings, name)
    at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    try:
        text = json.dumps({**payload, "at": at}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"result {name!r}: not plain JSON: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because a rename is atomic only within one file system.
    handle, draft = tempfile.mkstemp(prefix=f".{name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def load(settings: Settings, name: str) -> dict[str, Any] | None:
    """The result called `name`; None when that stage has not run in this home.

    Raises:
        InputError: a file that is no JSON object.
    """
    path = _path(settings, name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return _parse(path, text)


def load_all(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every result of this home by name, in the order of names; empty before the first."""
    folder = settings.home / "results"
    names = sorted(p.stem for p in folder.glob("*.json") if _NAME.fullmatch(p.stem))
    return {name: found for name in names if (found := load(settings, name)) is not None}


def _path(settings: Settings, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(f"result name {name!r}: expected lower-case letters, digits and _")
    return settings.home / "results" / f"{name}.json"


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not valid JSON: {error}", hint="remove the file; the stage writes it again"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
