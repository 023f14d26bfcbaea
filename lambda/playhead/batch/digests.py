"""What each day of a table was made from: a digest beside the tables, by which a run finds what is to be made again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

_FILE = "_digests.json"
_lock = threading.Lock()


def digest(*parts: object) -> str:
    """16 hex digits.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    return hashlib.sha256("".join(map(str, parts)).encode()).hexdigest()[:16]


def kept(folder: Path) -> dict[str, dict[str, str | None]]:
    """Table to ISO day to digest, of the tables in a folder. None: made from nothing."""
    file = folder / _FILE
    found: dict[str, dict[str, str | None]] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def forget(folder: Path, name: str, days: Iterable[date] | None = None) -> None:
    """Take days out, all of a table's when None: the first step of a write, which may end halfway."""
    with _lock:
        known = kept(folder)
        gone = None if days is None else {day.isoformat() for day in days}
        known[name] = {day: own for day, own in known.get(name, {}).items() if gone is not None and day not in gone}
        _write(folder, known)


def keep(folder: Path, made: Mapping[str, Mapping[date, str | None]]) -> None:
    """Add days that were made; the last step of a write."""
    with _lock:
        known = kept(folder)
        for name, days in made.items():
            known[name] = known.get(name, {}) | {day.isoformat(): own for day, own in days.items()}
        _write(folder, known)


def _write(folder: Path, known: Mapping[str, Mapping[str, str | None]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_FILE}"
    draft.write_text(json.dumps(known, indent=1, sort_keys=True))
    draft.replace(folder / _FILE)
