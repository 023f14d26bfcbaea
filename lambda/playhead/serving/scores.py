"""The lake's table of what a model made of served vectors: `lake/scores/<service>`, Delta, one row per score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.errors import InputError, StackError
from playhead.serving.spine import MOMENT, moments, read_table
from playhead.stack.process import exclusive

SCORES = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("track_id", pa.string()),
        ("model", pa.string()),
        ("score", pa.float64()),
        ("at", MOMENT),
        ("dt", pa.string()),
    ]
)
"""Columns of a table. `request_id`, `user_id` and `track_id` are those of `lake/served`; `track_id` is null where the
vector was of no track. `at` is when the score was made, `dt` its UTC day, by which the table is partitioned."""

_KEYS = ["dt", "request_id", "user_id", "track_id", "model"]
_SAME = " AND ".join(
    [
        *(f"there.{key} = given.{key}" for key in _KEYS if key != "track_id"),
        "(there.track_id = given.track_id OR (there.track_id IS NULL AND given.track_id IS NULL))",
    ]
)
_TEXTS = {"request_id", "user_id", "track_id", "model"}
_NEVER_NULL = ("request_id", "user_id", "model", "score")
_FILE = "a file of scores has request_id, user_id, score, at, and, where there is one, track_id; model, or --model"


@dataclass(frozen=True, kw_only=True)
class LandedScores:
    """How many scores were new, and how many were there already."""

    landed: int
    repeated: int


def read_scores(path: Path, model: str | None = None) -> pa.Table:
    """Scores of a CSV or Parquet file, in the columns of `SCORES`.

    Args:
        path: the file.
        model: name and version of the model; None: the file has a column `model`.

    Raises:
        InputError: it cannot be read, lacks a column, or a row lacks a value or has a score that is no number.
    """
    rows = read_table(path, _TEXTS | {"at"})
    if model is not None:
        if "model" in rows.column_names:
            raise InputError(f"{path}: it has a column model, and --model {model} was given", hint="leave one away")
        rows = rows.append_column("model", pa.array([model] * rows.num_rows, pa.string()))
    if "track_id" not in rows.column_names:
        rows = rows.append_column("track_id", pa.nulls(rows.num_rows, pa.string()))
    lacking = [name for name in SCORES.names if name != "dt" and name not in rows.column_names]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}", hint=_FILE)
    at = moments(path, "at", rows["at"])
    try:
        texts = {name: rows[name].cast(pa.string()) for name in sorted(_TEXTS)}
        own = pa.table({**texts, "score": rows["score"].cast(pa.float64()), "at": at, "dt": _days(at)})
    except pa.ArrowException as error:
        raise InputError(f"{path}: {error}", hint=_FILE) from error
    for name in _NEVER_NULL:
        known = pc.is_finite(own[name]) if name == "score" else own[name].is_valid()
        if own.num_rows and not pc.all(pc.fill_null(known, False)).as_py():
            row = pc.index(pc.fill_null(known, False), False).as_py() + 1
            raise InputError(f"{path}: row {row}: {name} is {own[name][row - 1].as_py()!r}", hint=_FILE)
    return own.select(SCORES.names).cast(SCORES)


def land_scores(settings: Settings, declarations: Declarations, service: str, scores: pa.Table) -> LandedScores:
    """Add scores to `lake/scores/<service>`, each once: of a day, a request, its user, a track and a model the first.

    Args:
        settings: where the lake is.
        declarations: what services there are.
        service: whose vectors were scored.
        scores: in the columns of `SCORES`.

    Raises:
        UnknownName: no such service.
        StackError: the table cannot be written.
    """
    path = scores_path(settings, declarations.service(service).name)
    given = scores.group_by(_KEYS, use_threads=False).aggregate([("score", "first"), ("at", "first")])
    given = given.rename_columns([*_KEYS, "score", "at"]).select(SCORES.names).cast(SCORES)
    path.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(path.parent / f".{path.name}.lock"):
            table = DeltaTable.create(path, SCORES, mode="ignore", partition_by=["dt"], name=path.name)
            merge = table.merge(given, _SAME, source_alias="given", target_alias="there").when_not_matched_insert_all()
            landed = int(merge.execute()["num_target_rows_inserted"])
    except (DeltaError, pa.ArrowException) as error:
        raise StackError(f"{path} cannot be written: {error}") from error
    return LandedScores(landed=landed, repeated=scores.num_rows - landed)


def scores_path(settings: Settings, service: str) -> Path:
    """Where the scores of a service are."""
    return settings.lake / "scores" / service


def _days(at: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.strftime(at, format="%Y-%m-%d")
