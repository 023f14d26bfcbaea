"""Where a declaration stands, for errors."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = str(Path(__file__).parent)
_MADE_BY_DATACLASSES = "<string>"


def declared_at() -> str:
    """File and line of the declaration that is being made, as `file:line`."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((_HERE, _MADE_BY_DATACLASSES)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
