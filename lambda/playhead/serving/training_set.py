"""Training sets: a spine, and what a feature service knew at each of its moments."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.errors import InputError, UnsupportedError
from playhead.serving.feast_offline import Cut, inputs_of, views_of
from playhead.serving.inputs import Inputs
from playhead.serving.manifest import Manifest, check_again, declared_as, manifest_path, read_manifest, sha256_of
from playhead.serving.registry import applied_service, open_feature_store
from playhead.serving.spine import (
    EVENT_TIMESTAMP,
    KNOWN_AT,
    beside,
    check_output,
    columns_of,
    keys_of,
    read_spine,
    with_defaults,
    write_slices,
)

log = structlog.get_logger()


@dataclass(frozen=True)
class TrainingSet:
    """What was written: one row per row of the spine, and how long it took.

    `fingerprints` says by group and on-demand view which declaration the values have; `nulls` counts the nulls of each
    feature, those too that a default has filled. What it was made of is in `manifest`.
    """

    service: str
    output: str
    manifest: str
    cut: str
    rows: int
    fingerprints: dict[str, str]
    nulls: dict[str, int]
    seconds: float

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def build_training_set(
    settings: Settings,
    declarations: Declarations,
    service: str,
    spine: Path,
    output: Path,
    *,
    cut: Cut = "as-served",
) -> TrainingSet:
    """Write a training set and its manifest, and keep the result as `training_set`.

    The spine is held whole, the features of `offline.rows_at_once` of its rows at a time.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        service: a declared feature service.
        spine: a CSV or Parquet file with the join keys of the service's groups and `event_timestamp`, and `known_at` if
            only what was written by then is to count.
        output: a `.parquet` file in a folder that exists, replaced whole; Spark makes it a folder of such files. Its
            columns: the spine's, then `view__feature` of the service. One row per row of the spine, in its order. What
            it was made of is written beside it, see `playhead.serving.manifest`.
        cut: as-served: what online knew; as-corrected: from the backfill, with late events where they belong.

    Raises:
        UnknownName: no such service.
        UnsupportedError: `known_at` for windows of days; on Spark `known_at` at all.
        InputError: a spine or an output that cannot be used, a registry that is behind the declarations, or a backfill
            that is not there or not of these declarations.
    """
    started = time.monotonic()
    rows = _spine(declarations, service, spine, output)
    manifest = Manifest(
        service=service,
        **declared_as(declarations, service),
        engine=settings.offline.engine,
        cut=cut,
        inputs=_inputs_now(settings, declarations, service, cut, rows),
        spine=str(spine.absolute()),
        spine_sha256=sha256_of(spine),
        rows=rows.num_rows,
        rows_at_once=settings.offline.rows_at_once,
    )
    return _write(settings, declarations, manifest, rows, output, started)


def build_again(
    settings: Settings, declarations: Declarations, manifest: Path, output: Path, spine: Path | None = None
) -> TrainingSet:
    """Write a training set of what another was made of: the same bytes, whatever came after it.

    Args:
        settings: says where the lake and the registry are.
        declarations: as they were.
        manifest: beside the other set.
        output: as of `build_training_set`.
        spine: where the spine is now; None: where it was.

    Raises:
        InputError: another declaration or spine, or a file or version that is gone; and as of `build_training_set`.
    """
    started = time.monotonic()
    made = read_manifest(manifest)
    spine = spine or Path(made.spine)
    check_again(made, declarations, spine)
    rows = _spine(declarations, made.service, spine, output)
    return _write(settings, declarations, replace(made, spine=str(spine.absolute())), rows, output, started)


def features_at(
    settings: Settings,
    declarations: Declarations,
    service: str,
    spine: pa.Table,
    *,
    cut: str = "as-served",
    inputs: Inputs | None = None,
) -> pa.Table:
    """The service's features at each moment, through Feast.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        service: a declared feature service.
        spine: at least the join keys (strings) and `event_timestamp`; and `known_at`, if it is to count.
        cut: see `build_training_set`.
        inputs: what to read; None: what is there now.

    Returns:
        Columns `view__feature` in the order of the declarations, without the service's defaults; one row per row of the
        spine, in its order.

    Raises:
        UnknownName: no such service.
        InputError: the registry is behind the declarations, or the lake cannot be read.
    """
    declared = declarations.service(service)
    store = open_feature_store(settings, {"cut": cut, "inputs": inputs})
    registered = applied_service(store, settings, declarations, service)
    known = [KNOWN_AT] if KNOWN_AT in spine.column_names else []
    entities = spine.select([*keys_of(declared), EVENT_TIMESTAMP, *known]).to_pandas()
    job = store.get_historical_features(entities, features=registered, full_feature_names=True)
    features = job.to_arrow().select(columns_of(declared))
    if features.num_rows != spine.num_rows:
        raise InputError(f"offline store: {features.num_rows} rows came back for {spine.num_rows} of the spine")
    return features


def _spine(declarations: Declarations, service: str, spine: Path, output: Path) -> pa.Table:
    declared = declarations.service(service)
    check_output(spine, output)
    every_key = {group.entity.key for group in declarations.groups}
    return read_spine(spine, keys_of(declared), every_key, columns_of(declared))


def _inputs_now(settings: Settings, declarations: Declarations, service: str, cut: Cut, rows: pa.Table) -> Inputs:
    store = open_feature_store(settings, {"cut": cut})
    applied_service(store, settings, declarations, service)
    views = [store.get_feature_view(group.name) for group in declarations.service(service).inputs]
    return inputs_of(store.config, views, settings.lake.absolute(), pc.max(rows[EVENT_TIMESTAMP]).as_py())


def _write(
    settings: Settings, declarations: Declarations, manifest: Manifest, rows: pa.Table, output: Path, started: float
) -> TrainingSet:
    nulls = dict.fromkeys(manifest.features, 0)
    if manifest.engine == "spark":
        nulls |= _write_on_spark(settings, declarations, manifest, rows, output)
    else:
        write_slices(_slices(settings, declarations, manifest, rows, nulls), output, manifest.metadata())
    manifest.write(output)
    made = TrainingSet(
        service=manifest.service,
        output=str(output),
        manifest=str(manifest_path(output)),
        cut=manifest.cut,
        rows=rows.num_rows,
        fingerprints=manifest.fingerprints,
        nulls=nulls,
        seconds=round(time.monotonic() - started, 3),
    )
    results.save(settings, "training_set", made.payload())
    log.info("training set", service=made.service, rows=made.rows, seconds=made.seconds, output=made.output)
    return made


def _slices(
    settings: Settings, declarations: Declarations, manifest: Manifest, rows: pa.Table, nulls: dict[str, int]
) -> Iterator[pa.Table]:
    """The set, some rows at a time; nulls of features are added up before defaults fill them."""
    declared, size = declarations.service(manifest.service), manifest.rows_at_once
    for start in range(0, rows.num_rows or 1, size):
        own = rows.slice(start, size)
        features = features_at(settings, declarations, manifest.service, own, cut=manifest.cut, inputs=manifest.inputs)
        for name in features.column_names:
            nulls[name] += features[name].null_count
        yield beside(own, with_defaults(declared, features))


def _write_on_spark(
    settings: Settings, declarations: Declarations, manifest: Manifest, rows: pa.Table, output: Path
) -> dict[str, int]:
    # Here, because nothing else in this layer starts a JVM.
    from playhead.batch.merged import PLACE
    from playhead.batch.session import spark_session
    from playhead.batch.training_set import write_training_set

    if KNOWN_AT in rows.column_names:
        raise UnsupportedError(
            f"training sets on Spark: no column {KNOWN_AT!r}", hint='set offline.engine to "duckdb", or leave it out'
        )
    declared = declarations.service(manifest.service)
    store = open_feature_store(settings, {"cut": manifest.cut, "inputs": manifest.inputs})
    refs = [f"{group.name}:{feature}" for group in declared.groups for feature in declared.features_of(group)]
    refs += [each.replace(".", ":") for view in declared.on_demand for each in view.inputs]
    views = views_of(store.config, [store.get_feature_view(group.name) for group in declared.inputs], refs)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        spine, draft = Path(folder) / "spine.parquet", Path(folder) / output.name
        pq.write_table(rows.append_column(PLACE, pa.array(np.arange(rows.num_rows))), spine)
        with spark_session(settings) as spark:
            nulls = write_training_set(spark, spine, EVENT_TIMESTAMP, declared, views, draft)
        output.unlink(missing_ok=True)
        draft.replace(output)
    return nulls
