"""Delta tables that may not be there yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable


def delta_table(path: Path, version: int | None = None) -> DeltaTable | None:
    """The table in a folder, of a version or the last one; None where there is none, and then no folder is left."""
    # Here, because `eval`, which must start fast, reads no Delta.
    from deltalake import DeltaTable

    # is_deltatable makes the folder that it asks about.
    there = path.is_dir() and DeltaTable.is_deltatable(str(path))
    return DeltaTable(str(path), version=version) if there else None
