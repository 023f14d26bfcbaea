"""Scores of served vectors: each lands once, and a file that is wrong says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from playhead.cli import app
from playhead.config import Settings
from playhead.errors import InputError
from playhead.serving.scores import read_scores

ROWS = (
    "request_id,user_id,track_id,score,at\n"
    "1,39,t1,0.5,2025-03-01T10:00:00\n"
    "1,39,,0.25,2025-03-01T10:00:00\n"
    "1,39,t1,0.5,2025-03-01T10:00:00\n"
    "1,39,t1,0.5,2025-03-02T10:00:00\n"
)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def land(settings: Settings, *arguments: object) -> Any:
    command = ["land-scores", "--service", "listener_v1", "--home", str(settings.home), *map(str, arguments)]
    return CliRunner().invoke(app, command)


def test_a_score_lands_once_for_a_day_a_request_a_track_and_a_model(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path / "scores.csv", ROWS)
    assert "3 scores landed, 1 were there" in land(settings, file, "--model", "a").stdout
    assert "0 scores landed, 4 were there" in land(settings, file, "--model", "a").stdout
    assert "3 scores landed, 1 were there" in land(settings, file, "--model", "b").stdout
    rows = DeltaTable(settings.lake / "scores" / "listener_v1").to_pyarrow_table()
    found = sorted(rows.select(["dt", "track_id", "score"]).to_pylist()[:3], key=str)
    assert rows.num_rows == 6
    assert {(row["dt"], row["track_id"], row["score"]) for row in found} <= {
        ("2025-03-01", "t1", 0.5),
        ("2025-03-01", None, 0.25),
        ("2025-03-02", "t1", 0.5),
    }


def test_a_parquet_file_may_name_its_models(tmp_path: Path) -> None:
    rows = {"request_id": ["r"], "user_id": [39], "model": ["m"], "score": [1], "at": [1_740_823_200_000]}
    pq.write_table(pa.table(rows), tmp_path / "scores.parquet")
    (row,) = read_scores(tmp_path / "scores.parquet").to_pylist()
    assert (row["user_id"], row["track_id"], row["model"], row["score"], row["dt"]) == (
        "39",
        None,
        "m",
        1,
        "2025-03-01",
    )
    with pytest.raises(InputError, match="it has a column model, and --model other was given"):
        read_scores(tmp_path / "scores.parquet", "other")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("request_id,user_id,score\n1,39,0.5\n", "no column at"),
        ("request_id,user_id,score,at\n1,39,,2025-03-01\n", "row 1: score is None"),
        ("request_id,user_id,score,at\n1,39,0.5,2025-03-01\n1,,0.5,2025-03-01\n", "row 2: user_id is None"),
        ("request_id,user_id,score,at\n1,39,inf,2025-03-01\n", "row 1: score is inf"),
        ("request_id,user_id,score,at\n1,39,high,2025-03-01\n", "high"),
        ("request_id,user_id,score,at\n1,39,0.5,then\n", "row 1: at 'then' is no moment"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, rows: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_scores(written(tmp_path / "scores.csv", rows), "m")
