"""Delta tables that may not be there yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from deltalake import DeltaTable


def delta_table(path: Path, version: int | None = None) -> DeltaTable | None:
    """The table in a folder, of a version or the last one; None where there is none, and then no folder is left."""
    # Here, because `eval`, which must start fast, reads no Delta.
    from deltalake import DeltaTable

    # is_deltatable makes the folder that it asks about.
    there = path.is_dir() and DeltaTable.is_deltatable(str(path))
    return DeltaTable(str(path), version=version) if there else None


def rows_of(table: DeltaTable, path: Path, partitions: list[tuple[str, str, list[str]]] | None = None) -> ds.Dataset:
    """A table's rows, as DuckDB reads them.

    Args:
        table: from `delta_table`.
        path: its folder.
        partitions: (column, `in`, values): only these; None: all.
    """
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    # The table's own file system is Python's. DuckDB begins a scan with the GIL held, and Arrow there waits for threads
    # that read a file: they would wait for the GIL, for ever.
    files = SubTreeFileSystem(str(path), LocalFileSystem())
    return table.to_pyarrow_dataset(partitions=partitions, filesystem=files)
