"""Delta tables as DuckDB reads them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake
from pyarrow.fs import PyFileSystem

from playhead.serving.delta import delta_table, rows_of


def test_rows_are_read_by_a_file_system_that_needs_no_gil(tmp_path: Path) -> None:
    path = tmp_path / "a table, 100 %"
    rows = pa.table({"of": ["one & two", "three=3"], "n": [1, 2]})
    write_deltalake(path, rows, partition_by=["of"])
    table = delta_table(path)
    assert table is not None
    found = rows_of(table, path)
    assert not isinstance(found.filesystem, PyFileSystem)
    assert found.to_table().select(["of", "n"]).sort_by("n") == rows
    assert rows_of(table, path, [("of", "in", ["three=3"])]).to_table()["n"].to_pylist() == [2]
