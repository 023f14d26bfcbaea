"""Feast's offline store over playhead's lake: the as-of join of `playhead.serving.asof`.

`feature_store.yaml` names it `playhead.serving.feast_offline.PlayheadOfflineStore`. Sources are Feast `FileSource`s on
Parquet files, folders of them, or Delta tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.types import from_feast_to_pyarrow_type
from sqlalchemy.dialects import plugins

from playhead.days import begin_ms_of, end_ms_of
from playhead.errors import InputError, UnsupportedError
from playhead.lake_files import event_days
from playhead.plan import DailyPlan
from playhead.published import published
from playhead.serving.asof import moments_of
from playhead.serving.corrected import check_backfill_of, corrected
from playhead.serving.inputs import Inputs, record, recorded
from playhead.serving.lake_rows import Feature, ViewRows
from playhead.serving.offline_merge import MergedRows, joined, measures_of
from playhead.serving.ranges import rows_between
from playhead.serving.spine import KNOWN_AT
from playhead.serving.views import archived_plan, empty_value, is_archived, merged_plan

# Feast imports this module before it opens the registry, whose address in feature_store.yaml asks for this plugin.
plugins.register("playhead", "playhead.serving.registry", "HomeRegistry")


Cut: TypeAlias = Literal["as-served", "as-corrected"]


class PlayheadOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """Where the rows are is part of each view's source.

    Attributes:
        type: of the store.
        cut: as-served: what the speed layer has archived, which is what online knew; as-corrected: the backfill, with
            late events where they belong.
        memory_mb: what DuckDB holds before it spills to disk; None: most of the machine's memory.
        inputs: what is read, as of `playhead.serving.inputs`; None: what is there now.
    """

    type: str = "playhead.serving.feast_offline.PlayheadOfflineStore"
    cut: Cut = "as-served"
    memory_mb: int | None = None
    inputs: dict[str, Any] | None = None


class PlayheadOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time reads of the lake. It is written by the speed and batch layers, never through Feast."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_range: datetime,
    ) -> RetrievalJob:
        """The values that held at each row's moment; see `playhead.serving.asof.as_of`. Windows of days are merged from
        both layers; see `playhead.serving.offline_merge`.

        Args:
            config: the repo's configuration.
            feature_views: the views that the references are of.
            feature_refs: `view:feature`.
            entity_df: the spine: the views' join keys and a column `event_timestamp` (or only one column of
                timestamps). Naive timestamps are UTC. Of what was written after its `known_at`, if it has that column,
                nothing counts; null: everything does.
            registry: where on-demand views are looked up.
            project: their project.
            full_feature_names: name the columns `view__feature`.

        Returns:
            A job that gives every row of the spine once, in its order, with its own columns first.

        Raises:
            UnsupportedError: a spine that is SQL text, or none.
            InputError: from a spine whose moments are no timestamps, a view of windows of days that is declared
                otherwise now, or a backfill that cannot be read as corrected; the job raises those of `joined`.
        """
        if not isinstance(entity_df, pd.DataFrame):
            got = "SQL text" if isinstance(entity_df, str) else "a date range"
            raise UnsupportedError(
                f"get_historical_features: the entities are {got}, expected a pandas DataFrame",
                hint="run the query first, and give its rows as entity_df",
            )
        timestamp = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes.items()))
        spine = _spine(entity_df, timestamp)
        moments = spine[timestamp].to_pandas()
        rows = [_rows(config, view, feature_refs, full_feature_names) for view in feature_views]
        store = config.offline_store
        if store.inputs is None:
            _check_cut(config, feature_views, pc.max(moments_of(spine, timestamp)).as_py())
        known = KNOWN_AT if KNOWN_AT in spine.column_names else None
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[column for column in spine.column_names if column != timestamp],
            min_event_timestamp=None if spine.num_rows == 0 else moments.min(),
            max_event_timestamp=None if spine.num_rows == 0 else moments.max(),
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return AsOfJob(
            lambda: joined(spine, timestamp, rows, known=known, memory_mb=store.memory_mb),
            metadata,
            on_demand,
            full_feature_names,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The latest row of each entity with `start_date <= event timestamp <= end_date`."""
        rows = _source_rows(
            config, data_source, join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        return AsOfJob(lambda: rows_between(rows, _aware(start_date), _aware(end_date), latest=True))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with `start_date <= event timestamp <= end_date`; of repeated rows the one created last."""
        rows = _source_rows(
            config, data_source, join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        return AsOfJob(lambda: rows_between(rows, _aware(start_date), _aware(end_date), latest=False))

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Accept a source whose rows do not exist yet: views are applied before the first event."""
        if _path(config, data_source).exists():
            super().validate_data_source(config, data_source)


class AsOfJob(RetrievalJob):  # type: ignore[misc]
    """A read of the lake, which runs when its result is asked for."""

    def __init__(
        self,
        read: Callable[[], pa.Table],
        metadata: RetrievalMetadata | None = None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        self._read = read
        self._metadata = metadata
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named `view__feature`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that Feast computes on the result."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._read()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._read().to_pandas()


def _spine(entity_df: pd.DataFrame, timestamp: str) -> pa.Table:
    column = entity_df[timestamp]
    if not pd.api.types.is_datetime64_any_dtype(column):
        # Numbers would be read as nanoseconds, whatever they are.
        if pd.api.types.is_numeric_dtype(column):
            raise InputError(f"spine: column {timestamp!r} is {column.dtype}, expected timestamps")
        try:
            column = pd.to_datetime(column, utc=True, format="ISO8601")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"spine: column {timestamp!r}: {error}", hint="expected ISO 8601 text or timestamps"
            ) from error
    try:
        return pa.Table.from_pandas(entity_df.assign(**{timestamp: column}), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"spine: {error}", hint="a column must hold values of one type") from error


def _view_rows(config: RepoConfig, view: FeatureView, feature_refs: list[str], full_feature_names: bool) -> ViewRows:
    source = _file_source(view.batch_source)
    columns = {mapped: column for column, mapped in source.field_mapping.items()}
    name = view.projection.name_alias or view.name
    prefix = f"{view.projection.name_to_use()}:"
    asked = dict.fromkeys(ref.removeprefix(prefix) for ref in feature_refs if ref.startswith(prefix))
    fields = {field.name: field for field in view.features}
    renamed = view.projection.join_key_map
    return ViewRows(
        name=view.name,
        path=_path(config, source),
        format=_format(source),
        keys=tuple((renamed.get(e.name, e.name), columns.get(e.name, e.name)) for e in view.entity_columns),
        features=tuple(
            Feature(
                columns.get(f, f),
                f"{name}__{f}" if full_feature_names else f,
                from_feast_to_pyarrow_type(fields[f].dtype),
                empty_value(fields[f]),
            )
            for f in asked
        ),
        timestamp=columns.get(source.timestamp_field, source.timestamp_field),
        created=columns.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        ttl=view.ttl or None,
        by_day=is_archived(view),
    )


def views_of(config: RepoConfig, views: Iterable[FeatureView], refs: list[str]) -> list[ViewRows | MergedRows]:
    """What `get_historical_features` would join for these references, with full feature names.

    Raises:
        InputError: as of `get_historical_features`.
    """
    return [_rows(config, view, refs, True) for view in views]


def inputs_of(config: RepoConfig, views: Iterable[FeatureView], lake: Path, until: datetime | None) -> Inputs:
    """What the views read now, in the configured cut.

    Args:
        config: of the store.
        views: registered ones.
        lake: its root.
        until: the spine's last moment.

    Raises:
        InputError: see `playhead.serving.corrected.check_backfill_of`.
    """
    _check_cut(config, views, until)
    return record((_rows(config, view, [], False) for view in views), lake)


def _rows(
    config: RepoConfig, view: FeatureView, feature_refs: list[str], full_feature_names: bool
) -> ViewRows | MergedRows:
    own = _view_rows(config, view, feature_refs, full_feature_names)
    merged, store, lake = merged_plan(view), config.offline_store, own.path.parents[1]
    rows = own if merged is None else _merged_rows(own, merged)
    archived = archived_plan(view) if store.cut == "as-corrected" else None
    if archived is not None and isinstance(rows, MergedRows):
        rows = replace(rows, today=corrected(rows.today, lake, archived))
    elif archived is not None:
        rows = corrected(own, lake, archived)
    return rows if store.inputs is None else recorded(rows, lake, store.inputs)


def _check_cut(config: RepoConfig, views: Iterable[FeatureView], until: datetime | None) -> None:
    for view in views if config.offline_store.cut == "as-corrected" else ():
        archived = archived_plan(view)
        if archived is not None:
            check_backfill_of(_path(config, view.batch_source).parents[1], archived, until)


def _merged_rows(rows: ViewRows, plan: DailyPlan) -> MergedRows:
    """The group's source is its daily view, lake/views/<group>; what is merged stands beside it."""
    lake = rows.path.parents[1]
    mark = published(lake)
    covered = mark.covered_of(plan) if mark else ()
    known = set(covered)
    keys, measures = ((plan.key, plan.key),), measures_of(plan)
    archive = lake / "speed" / plan.today.name
    return MergedRows(
        plan=plan,
        key=rows.keys[0][0],
        features=rows.features,
        partials=ViewRows(
            name=plan.name,
            path=lake / "daily" / plan.name,
            format="delta",
            keys=keys,
            features=measures,
            timestamp="dt",
        ),
        today=ViewRows(
            name=plan.today.name,
            path=archive,
            format="parquet",
            keys=keys,
            features=measures,
            created=rows.created,
            by_day=True,
        ),
        end_ms=end_ms_of(covered[-1]) if covered else None,
        missing_ms=tuple(begin_ms_of(day) for day in event_days(lake) if day not in known),
    )


def _source_rows(
    config: RepoConfig,
    source: DataSource,
    keys: list[str],
    features: list[str],
    timestamp: str,
    created: str | None,
) -> ViewRows:
    return ViewRows(
        name=source.name,
        path=_path(config, source),
        format=_format(source),
        keys=tuple((key, key) for key in keys),
        features=tuple(Feature(feature, feature) for feature in features),
        timestamp=timestamp,
        created=created or None,
    )


def _path(config: RepoConfig, source: DataSource) -> Path:
    return Path(FileSource.get_uri_for_file_path(config.repo_path, _file_source(source).path))


def _format(source: DataSource) -> Literal["parquet", "delta"]:
    return "delta" if isinstance(_file_source(source).file_format, DeltaFormat) else "parquet"


def _file_source(source: DataSource | None) -> FileSource:
    if not isinstance(source, FileSource):
        raise UnsupportedError(f"offline store: a source is {type(source).__name__}, expected a FileSource")
    return source


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
