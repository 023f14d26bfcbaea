"""What a training set is made of: which version of a Delta table, which files of an archive, how far the batch was.

Recorded once, it is what every part of the set reads, and what the set can be made of again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from playhead.errors import InputError
from playhead.lake_files import finished_files
from playhead.serving.delta import delta_table
from playhead.serving.lake_rows import ViewRows
from playhead.serving.offline_merge import MergedRows

Inputs: TypeAlias = dict[str, Any]
"""JSON values: `tables`, by path in the lake, and `days`, by daily group.

A table is `{"version": 3}`, `{"files": [[name, bytes], …], "digest": …}`, or `{"absent": true}`; a group's days are
`{"end_ms": …, "missing_ms": […]}`, as of `MergedRows`.
"""


def record(views: Iterable[ViewRows | MergedRows], lake: Path) -> Inputs:
    """What views read now.

    Args:
        views: of the lake.
        lake: its root.
    """
    found: Inputs = {"tables": {}, "days": {}}
    for view in views:
        for rows in _parts(view):
            found["tables"][_name(rows, lake)] = _table(rows)
        if isinstance(view, MergedRows):
            found["days"][view.plan.name] = {"end_ms": view.end_ms, "missing_ms": list(view.missing_ms)}
    return found


def recorded(view: ViewRows | MergedRows, lake: Path, inputs: Inputs) -> ViewRows | MergedRows:
    """A view that reads what is recorded, whatever came after it.

    Raises:
        InputError: nothing is recorded of it, or a file or a version is gone.
    """
    if isinstance(view, ViewRows):
        return _recorded(view, lake, inputs["tables"])
    partials, today = (_recorded(rows, lake, inputs["tables"]) for rows in _parts(view))
    days = inputs["days"][view.plan.name]
    missing_ms = tuple(days["missing_ms"])
    return dataclasses.replace(view, partials=partials, today=today, end_ms=days["end_ms"], missing_ms=missing_ms)


def summary(inputs: Inputs) -> Inputs:
    """The same without names of files: their digest stands for them."""
    tables = {name: {k: v for k, v in table.items() if k != "files"} for name, table in inputs["tables"].items()}
    return inputs | {"tables": tables}


def _parts(view: ViewRows | MergedRows) -> tuple[ViewRows, ...]:
    return (view,) if isinstance(view, ViewRows) else (view.partials, view.today)


def _name(rows: ViewRows, lake: Path) -> str:
    return str(rows.path.relative_to(lake) if rows.path.is_relative_to(lake) else rows.path)


def _table(rows: ViewRows) -> dict[str, Any]:
    if rows.format == "delta":
        table = delta_table(rows.path)
        return {"absent": True} if table is None else {"version": table.version()}
    single = rows.path.is_file()
    files = [
        ["" if single else str(file.relative_to(rows.path)), file.stat().st_size]
        for file in ([rows.path] if single else finished_files(rows.path))
    ]
    return {"files": files, "digest": hashlib.sha256(json.dumps(files).encode()).hexdigest()}


def _recorded(rows: ViewRows, lake: Path, tables: Mapping[str, Any]) -> ViewRows:
    name = _name(rows, lake)
    if name not in tables:
        raise InputError(f"view {rows.name!r}: nothing is recorded of {name}; recorded: {', '.join(tables)}")
    table = tables[name]
    if "version" in table:
        _check_version(rows, table["version"])
        return dataclasses.replace(rows, version=table["version"])
    files = table.get("files", [])
    for file, size in files:
        path = rows.path / file
        if not path.is_file() or path.stat().st_size != size:
            was = f"has another size than {size:,} bytes" if path.is_file() else "is gone"
            raise InputError(f"view {rows.name!r}: {path} {was}", hint="what it was made of cannot be read any more")
    return dataclasses.replace(rows, files=tuple(rows.path / file for file, _ in files))


def _check_version(rows: ViewRows, version: int) -> None:
    # Here, as in `delta_table`.
    from deltalake.exceptions import DeltaError

    hint = "what it was made of cannot be read any more: the table was made anew, or cleaned by VACUUM"
    try:
        table = delta_table(rows.path, version)
    except DeltaError as error:
        raise InputError(f"view {rows.name!r}: {rows.path} has no version {version}: {error}", hint=hint) from error
    if table is None:
        raise InputError(f"view {rows.name!r}: there is no Delta table in {rows.path}", hint=hint)
    for file in table.files():
        if not (rows.path / file).is_file():
            raise InputError(f"view {rows.name!r}: {file} of version {version} of {rows.path} is gone", hint=hint)
