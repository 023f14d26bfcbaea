"""Reading of JSON files, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from playhead.errors import InputError
from playhead.ingest.events import Tally

GZIP_MAGIC = b"\x1f\x8b"


def read_json_lines(paths: Sequence[Path], tally: Tally) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """The objects of files that hold one JSON object a line; empty lines are no rows.

    Yields:
        file, line number (from 1) and object. A line that is no JSON object is refused in the tally.

    Raises:
        InputError: a file is absent, unreadable, or its gzip stream is damaged.
    """
    for path in paths:
        line = 0
        try:
            with _open(path) as file:
                for line, text in enumerate(file, start=1):
                    if text.isspace():
                        continue
                    tally.rows += 1
                    value = _parse(text)
                    if isinstance(value, dict):
                        yield path, line, value
                    else:
                        tally.refuse(path, line, "not_json", f"got {_excerpt(text)}, allowed: one JSON object a line")
        except (OSError, EOFError, zlib.error) as error:
            where = f"{path}:{line}: cannot be read on" if line else f"{path}: cannot be read"
            raise InputError(f"{where}: {_why(error)}") from error


def read_json_array(path: Path) -> list[Any]:
    """The elements of a file that is one JSON array.

    Raises:
        InputError: the file is absent, unreadable, or no JSON array.
    """
    try:
        with _open(path) as file:
            text = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {_why(error)}") from error
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        line = text.count(b"\n", 0, error.pos) + 1
        raise InputError(f"{path}:{line}: not JSON: {error}; expected one JSON array of rows") from error
    if not isinstance(value, list):
        raise InputError(f"{path}:1: got {_excerpt(text)}; expected one JSON array of rows")
    return value


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    if file.read(2) != GZIP_MAGIC:
        file.seek(0)
        return file
    file.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _why(error: Exception) -> str:
    # An OSError's text repeats the path.
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _excerpt(text: bytes, longest: int = 60) -> str:
    shown = text.strip().decode("utf-8", "replace")
    return repr(shown if len(shown) <= longest else shown[:longest] + "…")
