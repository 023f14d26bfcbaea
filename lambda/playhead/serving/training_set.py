"""Training sets: a spine, and what a feature service knew at each of its moments."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog

from playhead.checks import results
from playhead.compile import on_demand_meaning
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.errors import InputError
from playhead.serving.registry import applied_service, open_feature_store
from playhead.serving.spine import (
    EVENT_TIMESTAMP,
    check_output,
    columns_of,
    keys_of,
    read_spine,
    with_defaults,
    write_rows,
)

log = structlog.get_logger()


@dataclass(frozen=True)
class TrainingSet:
    """What was written: one row per row of the spine, and how long it took.

    `fingerprints` says by group and on-demand view which declaration the values have; `nulls` counts the nulls of each
    feature, those too that a default has filled.
    """

    service: str
    output: str
    rows: int
    fingerprints: dict[str, str]
    nulls: dict[str, int]
    seconds: float

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def build_training_set(
    settings: Settings, declarations: Declarations, service: str, spine: Path, output: Path
) -> TrainingSet:
    """Write a training set, and keep the result as `training_set`.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        service: a declared feature service.
        spine: a CSV or Parquet file with the join keys of the service's groups and `event_timestamp`.
        output: a `.parquet` file in a folder that exists; it is replaced whole. Its columns: the spine's, then
            `view__feature` of the service. One row per row of the spine, in its order.

    Raises:
        UnknownName: no such service.
        InputError: a spine or an output that cannot be used, or a registry that is behind the declarations.
    """
    started = time.monotonic()
    declared = declarations.service(service)
    check_output(spine, output)
    every_key = {group.entity.key for group in declarations.groups}
    rows = read_spine(spine, keys_of(declared), every_key, columns_of(declared))
    features = features_at(settings, declarations, service, rows)
    write_rows(rows, with_defaults(declared, features), output)
    made = TrainingSet(
        service=service,
        output=str(output),
        rows=rows.num_rows,
        fingerprints={
            **{group.name: declarations.plan(group.name).fingerprint for group in declared.inputs},
            **{view.name: on_demand_meaning(view) for view in declared.on_demand},
        },
        nulls={name: features[name].null_count for name in features.column_names},
        seconds=round(time.monotonic() - started, 3),
    )
    results.save(settings, "training_set", made.payload())
    log.info("training set", service=service, rows=made.rows, seconds=made.seconds, output=made.output)
    return made


def features_at(settings: Settings, declarations: Declarations, service: str, spine: pa.Table) -> pa.Table:
    """The service's features at each moment, through Feast.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        service: a declared feature service.
        spine: at least the join keys (strings) and `event_timestamp`.

    Returns:
        Columns `view__feature` in the order of the declarations, without the service's defaults; one row per row of the
        spine, in its order.

    Raises:
        UnknownName: no such service.
        InputError: the registry is behind the declarations, or the lake cannot be read.
    """
    declared = declarations.service(service)
    store = open_feature_store(settings)
    registered = applied_service(store, settings, declarations, service)
    entities = spine.select([*keys_of(declared), EVENT_TIMESTAMP]).to_pandas()
    job = store.get_historical_features(entities, features=registered, full_feature_names=True)
    features = job.to_arrow().select(columns_of(declared))
    if features.num_rows != spine.num_rows:
        raise InputError(f"offline store: {features.num_rows} rows came back for {spine.num_rows} of the spine")
    return features
