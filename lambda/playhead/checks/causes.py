"""Why a value was served otherwise than training sees it: each differing value gets one cause.

What the log says of a vector comes first: a fallback, rows of another declaration, rows too old, a batch too far
behind. What is left is held against the master data without its late events, which is what the speed layer counted:
computed again there, the value is the one that was served (late events have changed it since), or it was the right one
until a row that had not arrived (the row was on its way, and for how long), or it is neither: then the code differs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb
import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from playhead import oracle
from playhead.columns import Flags
from playhead.compile import on_demand_meaning
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import VALID_FROM_MS, Days, FeatureGroup, FeatureService, OnDemand
from playhead.evaluate import evaluate
from playhead.lake_files import finished_files
from playhead.local.changelog import changelog
from playhead.local.sql import compiled
from playhead.merge import SPEED_DAYS
from playhead.on_demand import computed
from playhead.plan import AttributePlan, DailyPlan, Plan, speed_plan
from playhead.relations import BY_DAY, DAY_MS, T_MS
from playhead.serving.dimension_table import read_dimension
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from schemas.tables import lake_arrow_schema


class Cause(StrEnum):
    """Why a served value differs. The first that holds counts."""

    FALLBACK = "fallback"
    """The store did not answer in time: defaults were served."""
    VERSION = "version"
    """It was made from another declaration than today's."""
    TTL = "ttl"
    """The row had outlived its time to live."""
    BATCH_LAG = "batch_lag"
    """A window was refused, because the batch layer was too far behind."""
    LATE_EVENT = "late_event"
    """It was right without the events that came late, which training sees."""
    PROPAGATION_LAG = "propagation_lag"
    """It was right a moment before: newer rows had not reached the store."""
    LOGIC = "logic"
    """None of these: the code that made it differs."""


@dataclass(frozen=True)
class Attributed:
    """A cause; of propagation lag, for how long the value had not been right any more."""

    cause: Cause
    lag_ms: int | None = None


_LOGIC = Attributed(Cause.LOGIC)
_Columns = Mapping[str, Sequence[Any]]


def attribute(
    settings: Settings,
    declarations: Declarations,
    service: FeatureService,
    served: pa.Table,
    differing: Mapping[str, Flags],
) -> dict[str, dict[int, Attributed]]:
    """The cause of each value that differs.

    Args:
        settings: says where the lake is.
        declarations: what is declared now.
        service: what was served.
        served: the log's rows, as of `playhead.serving.served_table`.
        differing: `view__feature` to the rows in which it differs.

    Returns:
        `view__feature` to row to cause; of those that differ.
    """
    rows = np.flatnonzero(np.logical_or.reduce([*differing.values(), np.zeros(served.num_rows, np.bool_)]))
    if len(rows) == 0:
        return {}
    own = served.take(rows)
    log = _Log(own, service)
    wrong = {column: flags[rows] for column, flags in differing.items() if flags.any()}
    replay = _Replay(settings, declarations, log)
    found: dict[str, dict[int, Attributed]] = {}
    for group in service.groups:
        columns = {f: f"{group.name}__{f}" for f in service.features_of(group) if f"{group.name}__{f}" in wrong}
        if columns:
            found |= _of_group(group, declarations.plan(group.name), columns, wrong, log, replay)
    for view in service.on_demand:
        for feature in service.features_of(view):
            column = f"{view.name}__{feature}"
            if column in wrong:
                found[column] = _of_on_demand(view, feature, wrong[column], log, found, service)
    return {column: {int(rows[place]): each for place, each in of.items()} for column, of in found.items()}


def _of_group(
    group: FeatureGroup, plan: Plan, columns: Mapping[str, str], wrong: Mapping[str, Flags], log: _Log, replay: _Replay
) -> dict[str, dict[int, Attributed]]:
    found: dict[str, dict[int, Attributed]] = {column: {} for column in columns.values()}
    told = log.told(group.name, plan.fingerprint, isinstance(plan, DailyPlan))
    left = np.zeros(log.rows, np.bool_)
    for column in columns.values():
        for place in np.flatnonzero(wrong[column]).tolist():
            if told[place] is not None:
                found[column][place] = told[place]
            else:
                left[place] = True
    places = np.flatnonzero(left)
    if len(places) == 0:
        return found
    days = (
        np.array(log.moments_ms, np.int64)[places] // DAY_MS if isinstance(plan, DailyPlan) else np.zeros(len(places))
    )
    for day in np.unique(days):
        of_day = places[days == day]
        again = replay.of(group, plan, of_day)
        for feature, column in columns.items():
            served, default = log.columns[column], log.defaults.get(f"{group.name}.{feature}")
            for at, place in enumerate(of_day.tolist()):
                if wrong[column][place]:
                    found[column][place] = again.cause(feature, at, served[place], default)
    return found


def _of_on_demand(
    view: OnDemand,
    feature: str,
    wrong: Flags,
    log: _Log,
    found: Mapping[str, Mapping[int, Attributed]],
    service: FeatureService,
) -> dict[int, Attributed]:
    """That of the input which differs, if the function gave what it gives for the inputs that were served."""
    column = f"{view.name}__{feature}"
    inputs = [each for each in view.inputs if "." in each]
    logged = all(each.replace(".", "__") in log.columns for each in inputs)
    causes: dict[int, Attributed] = {}
    for place in np.flatnonzero(wrong).tolist():
        told = log.told_of_row(place, view.name, on_demand_meaning(view))
        blamed = [c for each in inputs if (c := found.get(each.replace(".", "__"), {}).get(place))]
        if told is None and logged:
            given = {each: [log.columns[each.replace(".", "__")][place]] for each in inputs}
            (value,) = computed(view, given, [log.moments_ms[place]])[feature]
            default = service.defaults.get(f"{view.name}.{feature}")
            if (default if value is None else value) != log.columns[column][place]:
                blamed = []
        causes[place] = told or (blamed[0] if blamed else _LOGIC)
    return causes


class _Log:
    """What the log says of some vectors."""

    def __init__(self, served: pa.Table, service: FeatureService) -> None:
        self.rows = served.num_rows
        self.defaults = service.defaults
        self.columns: dict[str, list[Any]] = {name: served[name].to_pylist() for name in served.column_names}
        self.moments_ms: list[int] = (
            served["serve_time"].cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_pylist()
        )
        nothing: list[Any] = [None] * self.rows
        self._fallback = self.columns.get("fallback", nothing)
        self._statuses = [dict(each or ()) for each in self.columns.get("statuses", nothing)]
        self._fingerprints = [dict(each or ()) for each in self.columns.get("fingerprints", nothing)]

    def told(self, view: str, fingerprint: str, merged: bool) -> list[Attributed | None]:
        """What the log itself says of a view's values, row by row."""
        stale = Attributed(Cause.BATCH_LAG if merged else Cause.TTL)
        return [
            stale if self._statuses[place].get(view) == "stale" else self.told_of_row(place, view, fingerprint)
            for place in range(self.rows)
        ]

    def told_of_row(self, place: int, view: str, fingerprint: str) -> Attributed | None:
        """A fallback, or another declaration."""
        if self._fallback[place] is not None:
            return Attributed(Cause.FALLBACK)
        refused = self._statuses[place].get(view) == "refused"
        if refused or self._fingerprints[place].get(view, fingerprint) != fingerprint:
            return Attributed(Cause.VERSION)
        return None

    def stamps_ms(self, view: str) -> list[int | None]:
        """Event timestamps of the rows that a view's values came from."""
        return self.columns.get(f"{view}__event_timestamp_ms", [None] * self.rows)


@dataclass(frozen=True)
class _Rows:
    """Some of the log's rows.

    Attributes:
        entities: whom each is of.
        moments_ms: when it was served.
        nexts_ms: the first change up to then that is newer than the row that was served; None where there is none.
        late: whether an event of the entity came late.
    """

    entities: Sequence[str | None]
    moments_ms: Sequence[int]
    nexts_ms: Sequence[int | None]
    late: Sequence[bool]


@dataclass(frozen=True)
class _Again:
    """A group's values without late events, at the moment of each row and before the first row that had not arrived; of
    windows of days once for each day up to which the batch layer may have brought the late ones.
    """

    rows: _Rows
    at_moment: Sequence[_Columns]
    before_next: Sequence[_Columns]

    def cause(self, feature: str, place: int, served: Any, default: Any) -> Attributed:
        """Of one value."""

        def equal(found: Sequence[_Columns]) -> bool:
            values = (each[feature][place] for each in found)
            return any((default if value is None else value) == served for value in values)

        if self.rows.late[place] and equal(self.at_moment):
            return Attributed(Cause.LATE_EVENT)
        following = self.rows.nexts_ms[place]
        if following is not None and equal(self.before_next):
            return Attributed(Cause.PROPAGATION_LAG, self.rows.moments_ms[place] - following)
        return _LOGIC


class _Replay:
    """The master data without late events, of the entities of some vectors; computed again."""

    def __init__(self, settings: Settings, declarations: Declarations, log: _Log) -> None:
        self._lake, self._declarations, self._log = settings.lake, declarations, log

    @functools.cached_property
    def dimensions(self) -> dict[str, pa.Table]:
        """The rows of each."""
        return {d.name: read_dimension(self._lake, d) for d in self._declarations.dimensions}

    def of(self, group: FeatureGroup, plan: Plan, places: npt.NDArray[np.int64]) -> _Again:
        """A group's values for these of the log's rows; of windows of days they are of one day."""
        entities = [self._log.columns[plan.key][place] for place in places.tolist()]
        moments = [self._log.moments_ms[place] for place in places.tolist()]
        stamps = [self._log.stamps_ms(plan.name)[place] for place in places.tolist()]
        events = self._events(plan.key, entities, max(moments))
        online = events.filter(pc.invert(events["late"]))
        late = {*events.filter(events["late"])[plan.key].to_pylist()}
        nexts = _next_rows(self._changes(plan, online), entities, stamps, moments)
        rows = _Rows(entities, moments, nexts, [entity in late for entity in entities])
        variants = _with_days_before(events, moments) if isinstance(plan, DailyPlan) else [online]
        found = [self._values(group, known, rows) for known in variants]
        return _Again(rows, [at for at, _ in found], [before for _, before in found])

    def _values(self, group: FeatureGroup, events: pa.Table, rows: _Rows) -> tuple[_Columns, _Columns]:
        """At the moments, and right before the next rows."""
        service = FeatureService(name=f"{group.name}_v1", groups=(group,))
        moments = rows.moments_ms
        asked = [*moments, *(m if n is None else n - 1 for n, m in zip(rows.nexts_ms, moments, strict=True))]
        keys = pa.array([*rows.entities, *rows.entities], pa.string())
        spine = pa.table({group.entity.key: keys, EVENT_TIMESTAMP: pa.array([ms * 1_000 for ms in asked], MOMENT)})
        found = evaluate(service, events, spine, dimensions=self.dimensions)
        values = {name: found[f"{group.name}__{name}"].to_pylist() for name in group.feature_names}
        before = {name: own[len(moments) :] for name, own in values.items()}
        if group.kind is Days:
            self._over_midnight(group, events, rows, before)
        return {name: own[: len(moments)] for name, own in values.items()}, before

    def _over_midnight(self, group: FeatureGroup, events: pa.Table, rows: _Rows, before: dict[str, list[Any]]) -> None:
        """Windows of days move at midnight: what had not arrived is left out, and the moment stays."""
        for place, (entity, moment, following) in enumerate(
            zip(rows.entities, rows.moments_ms, rows.nexts_ms, strict=True)
        ):
            if following is None or following // DAY_MS == moment // DAY_MS or entity is None:
                continue
            mine = events.filter(pc.equal(events[group.entity.key], entity)).to_pylist()
            # The row that had not arrived is stamped with the end of its events' second.
            known = [row for row in mine if row["event_time_ms"] < following - 1_000]
            dimensions = {name: table.to_pylist() for name, table in self.dimensions.items()}
            values = oracle.values_at(group, oracle.enriched(group, known, dimensions), entity, moment)
            for name, own in before.items():
                own[place] = values[name]

    def _changes(self, plan: Plan, events: pa.Table) -> pa.Table:
        """When an entity's values changed: `entity` and `at_ms`."""
        if isinstance(plan, AttributePlan):
            rows = self.dimensions[plan.dimension.name]
            return pa.table({"entity": rows[plan.key], "at_ms": rows[VALID_FROM_MS]})
        rows = changelog(speed_plan(plan), events, self.dimensions)
        keys = rows[plan.key].to_pylist()
        if isinstance(plan, DailyPlan):
            keys = [key.rpartition(BY_DAY)[0] for key in keys]
        return pa.table({"entity": pa.array(keys, pa.string()), "at_ms": rows[T_MS]})

    def _events(self, key: str, entities: Sequence[str | None], until_ms: int) -> pa.Table:
        """The master data of these entities up to a moment."""
        schema = lake_arrow_schema()
        files = [str(file) for file in finished_files(self._lake / "events")]
        wanted = pa.table({"wanted": pa.array(list({e for e in entities if e is not None}), pa.string())})
        if not files:
            return schema.empty_table()
        with duckdb.connect() as connection:
            connection.register("wanted", wanted)
            rows = ibis.table(ibis.Schema.from_pyarrow(schema), name="events")
            asked = ibis.table({"wanted": "string"}, name="wanted")
            mine = rows.semi_join(asked, rows[key] == asked.wanted)
            query = mine.filter(mine.event_time_ms <= until_ms).select(schema.names)
            connection.read_parquet(files, hive_partitioning=False, union_by_name=True).create_view("events")
            return connection.sql(compiled(query)).to_arrow_table().cast(schema)


def _with_days_before(events: pa.Table, moments: Sequence[int]) -> list[pa.Table]:
    """The events without the late ones of the last days: what windows of days are made of while the batch layer is
    behind.
    """
    today = max(moments) // DAY_MS * DAY_MS
    ends = [today - age * DAY_MS for age in range(SPEED_DAYS)]
    on_time = pc.invert(events["late"])
    return [events.filter(pc.or_(on_time, pc.less(events["event_time_ms"], end))) for end in ends]


def _next_rows(
    changes: pa.Table, entities: Sequence[str | None], stamps: Sequence[int | None], moments: Sequence[int]
) -> list[int | None]:
    """The first change after the row that was served, up to the moment; None where there is none."""
    by_entity: dict[str, list[int]] = {}
    for entity, at_ms in zip(changes["entity"].to_pylist(), changes["at_ms"].to_pylist(), strict=True):
        by_entity.setdefault(entity, []).append(at_ms)
    sorted_ms = {entity: np.unique(np.array(own, np.int64)) for entity, own in by_entity.items()}
    found: list[int | None] = []
    for entity, stamp, moment in zip(entities, stamps, moments, strict=True):
        own = sorted_ms.get(entity or "")
        place = 0 if own is None or stamp is None else int(np.searchsorted(own, stamp, side="right"))
        following = None if own is None or place == len(own) else int(own[place])
        found.append(following if following is not None and following <= moment else None)
    return found
