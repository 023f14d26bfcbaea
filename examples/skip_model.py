"""A small model on labelled vectors: logistic regression, trained on the earlier serves, judged on the later ones.

playhead batch labels --date 2025-03-03
python examples/skip_model.py .playhead/lake/labelled/listener_v1
python examples/skip_model.py .playhead/lake/labelled/listener_v1 --label label_30s --metrics metrics.json
playhead check retrain --service listener_v1 --metrics metrics.json --min-auc 0.6
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

LABELS = ("skip_5s", "skip_10s", "label_30s")
Array = np.ndarray[Any, np.dtype[np.float64]]


def labelled(path: Path, label: str) -> pa.Table:
    """The rows that have the label, in the order of their serve times.

    Raises:
        ValueError: no such table, or one without rows.
    """
    try:
        rows = DeltaTable(path).to_pyarrow_dataset().to_table(filter=pc.field(label).is_valid())
    except TableNotFoundError as error:
        raise ValueError(f"{path}: no labelled vectors; `playhead batch labels` makes them") from error
    return rows.sort_by([("serve_time", "ascending"), ("request_id", "ascending"), ("track_id", "ascending")])


def features(rows: pa.Table) -> tuple[list[str], Array]:
    """Each number among the features, 0 where it is null, and whether it is null: one row per row."""
    names = [f.name for f in rows.schema if "__" in f.name and pa.types.is_primitive(f.type)]
    # Not a feature, but when its row was written; of easy negatives it is null, which would give them away.
    names = [name for name in names if not name.endswith("__event_timestamp_ms")]
    numbers = [rows[name].cast(pa.float64()).fill_null(0.0).to_numpy() for name in names]
    nulls = [rows[name].is_null().cast(pa.float64()).to_numpy() for name in names]
    return [*names, *(f"{name} is null" for name in names)], np.column_stack([*numbers, *nulls])


def split(moments: list[Any], share: float) -> int:
    """The first row of the later part; requests of one moment are not torn apart."""
    at = min(int(len(moments) * share), len(moments) - 1)
    while at > 0 and moments[at - 1] == moments[at]:
        at -= 1
    return at


def fit(x: Array, y: Array, weight: Array, *, ridge: float = 1.0, steps: int = 30) -> Array:
    """Coefficients of a logistic regression with a ridge, by Newton's method; the last is the intercept's."""
    x = np.column_stack([x, np.ones(len(x))])
    penalty = ridge * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-6
    beta = np.zeros(x.shape[1])
    for _ in range(steps):
        p = chances(x[:, :-1], beta)
        gradient = x.T @ (weight * (p - y)) + penalty @ beta
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def chances(x: Array, beta: Array) -> Array:
    """The chance of each row to be positive."""
    found: Array = 1 / (1 + np.exp(-np.clip(x @ beta[:-1] + beta[-1], -30, 30)))
    return found


def auc(y: Array, score: Array, weight: Array) -> float:
    """The chance that a positive scores above a negative, both drawn by weight; ties count half."""
    order = np.argsort(score, kind="stable")
    y, score, weight = y[order], score[order], weight[order]
    _, first = np.unique(score, return_index=True)
    positives, negatives = (np.add.reduceat(weight * side, first) for side in (y, 1 - y))
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum()))


def train(path: Path, label: str, share: float) -> tuple[str, dict[str, Any]]:
    """Train and judge: what to tell, and the metrics of the later rows.

    Raises:
        ValueError: no table, or a part of it has only one class.
    """
    rows = labelled(path, label)
    at = split(rows["serve_time"].to_pylist(), share) if rows.num_rows else 0
    y, weight = (rows[name].cast(pa.float64()).to_numpy() for name in (label, "weight"))
    for part, own in (("earlier", y[:at]), ("later", y[at:])):
        if len(set(own)) < 2:
            raise ValueError(
                f"{path}: the {part} {len(own)} of {len(y)} rows with {label} have {int(own.sum())} that are true: "
                "a model needs both; label more days"
            )
    names, x = features(rows)
    mean, spread = x[:at].mean(axis=0), x[:at].std(axis=0)
    x = (x - mean) / np.where(spread > 0, spread, 1)
    beta = fit(x[:at], y[:at], weight[:at])
    score = chances(x, beta)
    strongest = np.argsort(-np.abs(beta[:-1]))[:5]
    earlier, later = auc(y[:at], score[:at], weight[:at]), auc(y[at:], score[at:], weight[at:])
    told = "\n".join(
        [
            f"{label}: {len(y):,} rows, {int(y.sum()):,} true; trained on {at:,}, judged on {len(y) - at:,}",
            f"AUC earlier {earlier:.3f}, later {later:.3f}",
            *(f"  {beta[n]:+.3f} {names[n]}" for n in strongest),
        ]
    )
    return told, {"label": label, "rows": len(y) - at, "auc": later}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a folder of lake/labelled")
    parser.add_argument("--label", choices=LABELS, default=LABELS[0], help="what to predict [default: skip_5s]")
    parser.add_argument("--share", type=float, default=0.7, help="of the rows to train on [default: 0.7]")
    parser.add_argument("--metrics", type=Path, help="a JSON file to write, with the AUC of the later rows")
    given = parser.parse_args()
    try:
        told, metrics = train(given.table, given.label, given.share)
    except ValueError as error:
        sys.exit(str(error))
    print(told)
    if given.metrics:
        given.metrics.write_text(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    main()
