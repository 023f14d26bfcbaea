"""`check quality --training-set`: the suite of a training set, in this process or, of a large one, on Spark."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
from pyspark.sql import functions as f

from playhead.batch.session import cached, spark_session
from playhead.checks import data_docs
from playhead.checks.hand_written import hand_written
from playhead.checks.hours import SINCE, type_of
from playhead.checks.quality import MOMENT_MS, Profile, Suite, validate
from playhead.checks.suites import ROW_ID, growing, growth, training_set_suite
from playhead.checks.usual import footers, unlike
from playhead.checks.verdicts import Verdict, record
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import OnDemand
from playhead.errors import InputError
from playhead.lake_files import finished_files
from playhead.plan import AttributePlan
from playhead.serving.manifest import manifest_path, read_manifest
from playhead.serving.spine import EVENT_TIMESTAMP, keys_of

VALUES_IN_PROCESS = 20_000_000
"""Rows times columns of a set that is read into this process; a larger one is judged on Spark."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A suite of the rows of files, what tells rows apart, the columns that are compared, and what was measured."""

    files: Sequence[Path]
    suite: Suite
    keys: Sequence[str]
    pairs: Sequence[tuple[str, str]]
    profile: Profile


def check_training_set(
    settings: Settings, declarations: Declarations, path: Path, *, now: datetime | None = None
) -> Verdict:
    """Judge a training set by its manifest, and keep what was found as readings and in the Data Docs.

    Args:
        settings: says where the home and the lake are.
        declarations: its service is among them.
        path: a Parquet file, or a folder of them, as `training-set` has written it, with its manifest beside it.
        now: the moment of the check; the wall clock when None.

    Raises:
        InputError: no such set, no manifest, or a column that its rows are told by is missing.
        UnknownName: its service is not declared any more.
        ConfigError: from the hand-written expectations.
    """
    files = [path] if path.is_file() else finished_files(path) if path.is_dir() else []
    if not files:
        raise InputError(f"{path}: no training set")
    manifest = read_manifest(manifest_path(path))
    service = declarations.service(manifest.service)
    found, keys = footers(files), keys_of(service)
    types: dict[str, str] = {name: kind for one in found for name, kind in one.types.items()}
    if missing := [name for name in (*keys, EVENT_TIMESTAMP) if name not in types]:
        raise InputError(f"{path}: no column {', '.join(missing)}; it has {', '.join(types)}")
    expected = _types(declarations, manifest.service)
    other = {name: kind for one in found for name, kind in unlike(one.types, expected).items()}
    # What is of another type is not compared: that says what is wrong.
    by_measure = _growing(declarations, manifest.service, types.keys() - other.keys())
    suite = training_set_suite(manifest, expected, by_measure, hand_written(declarations).get(manifest.service, ()))
    profile: Profile = [{SINCE: None, **{type_of(name): kind for name, kind in other.items()}}]
    pairs = [pair for names in by_measure for pair in pairwise(names)]
    rows = sum(one.rows for one in found)
    judge = _in_process if rows * len(types) <= VALUES_IN_PROCESS else _on_spark
    verdict = judge(settings, _Asked(files=files, suite=suite, keys=keys, pairs=pairs, profile=profile))
    at = now or datetime.now(UTC)
    data_docs.write(settings, [(verdict, None)], now=at)
    record(settings, [(verdict, None)], now=at)
    return verdict


def _types(declarations: Declarations, name: str) -> dict[str, str]:
    """Feature column of a service to its declared type, Arrow's name."""
    service = declarations.service(name)
    found: dict[str, str] = {}
    for view in service.views:
        schema: Mapping[str, Any] = (
            {feature: ibis.dtype(kind) for feature, kind in view.features.items()}
            if isinstance(view, OnDemand)
            else dict(declarations.plan(view.name).schema)
        )
        own = service.features_of(view)
        found |= {f"{view.name}__{feature}": str(schema[feature].to_pyarrow()) for feature in own}
    return found


def _growing(declarations: Declarations, name: str, there: Collection[str]) -> list[list[str]]:
    """As of `suites.growing`, columns of the set."""
    found = []
    for group in declarations.service(name).groups:
        plan = declarations.plan(group.name)
        for features in [] if isinstance(plan, AttributePlan) else growing(plan):
            found.append([column for feature in features if (column := f"{group.name}__{feature}") in there])
    return [columns for columns in found if columns]


def _in_process(_settings: Settings, asked: _Asked) -> Verdict:
    frame = pq.read_table(asked.files[0] if len(asked.files) == 1 else list(asked.files)).to_pandas()
    frame[ROW_ID] = frame[[*asked.keys, EVENT_TIMESTAMP]].astype("string").fillna("").agg(" ".join, axis=1)
    frame[MOMENT_MS] = frame[EVENT_TIMESTAMP]
    for shorter, longer in asked.pairs:
        frame[growth(shorter, longer)] = frame[longer] - frame[shorter]
    return validate(frame, asked.suite, (), asked.profile)


def _on_spark(settings: Settings, asked: _Asked) -> Verdict:
    with spark_session(settings) as spark:
        frame = spark.read.parquet(*map(str, asked.files))
        parts = [f.coalesce(f.col(name).cast("string"), f.lit("")) for name in (*asked.keys, EVENT_TIMESTAMP)]
        row_id = f.concat_ws(" ", *parts)
        more = [(f.col(longer) - f.col(shorter)).alias(growth(shorter, longer)) for shorter, longer in asked.pairs]
        moment = f.unix_millis(f.col(EVENT_TIMESTAMP).cast("timestamp"))
        with cached(frame.select("*", row_id.alias(ROW_ID), moment.alias(MOMENT_MS), *more)) as rows:
            return validate(rows, asked.suite, (), asked.profile)
