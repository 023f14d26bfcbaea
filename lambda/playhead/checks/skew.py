"""The skew check: what was served against what the offline store says for the same moments.

Each served vector is computed again as of its serve time, through Feast, and compared value by value: equal to the last
digit, and null only where the other side is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import structlog

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import FeatureService
from playhead.errors import InputError
from playhead.serving.asof import open_duckdb
from playhead.serving.delta import delta_table
from playhead.serving.spine import EVENT_TIMESTAMP, columns_of, keys_of, with_defaults
from playhead.serving.training_set import features_at

log = structlog.get_logger()

_SHOWN_PER_FEATURE = 3


@dataclass(frozen=True)
class FeatureSkew:
    """One feature of one service. `null_served` and `null_offline` count rows where only that side is null."""

    service: str
    feature: str
    rows: int
    matches: int
    null_served: int
    null_offline: int

    @property
    def mismatches(self) -> int:
        """Rows where the two sides differ."""
        return self.rows - self.matches


@dataclass(frozen=True)
class Difference:
    """One value that differs. `served_event_timestamp_ms` is the stamp of the row that was served; null: no row."""

    service: str
    feature: str
    request_id: str
    entities: dict[str, str | None]
    serve_time: str
    served_event_timestamp_ms: int | None
    served: Any
    offline: Any


@dataclass(frozen=True)
class Skew:
    """All features that were compared, and a few of the differences of each."""

    features: tuple[FeatureSkew, ...]
    differences: tuple[Difference, ...]

    @property
    def values(self) -> int:
        """How many values were compared."""
        return sum(feature.rows for feature in self.features)

    @property
    def matches(self) -> int:
        """How many of them are equal."""
        return sum(feature.matches for feature in self.features)

    @property
    def mismatches(self) -> int:
        """How many differ."""
        return self.values - self.matches

    @property
    def mismatch_rate(self) -> float:
        """Share of values that differ."""
        return self.mismatches / self.values if self.values else 0.0

    @property
    def rows(self) -> dict[str, int]:
        """Served vectors that were compared, by service."""
        return {feature.service: feature.rows for feature in self.features}

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        features = [{**asdict(feature), "mismatches": feature.mismatches} for feature in self.features]
        totals = {"values": self.values, "matches": self.matches, "mismatches": self.mismatches}
        return {"rows": self.rows, **totals, "features": features, "differences": [asdict(d) for d in self.differences]}


def check_skew(
    settings: Settings, declarations: Declarations, services: Sequence[str], *, sample: int | None = None
) -> Skew:
    """Compare the served log with the offline store, and keep the result as `skew`.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        services: names of declared feature services.
        sample: compare that many vectors of each service, picked by the hash of request and entities, so that the
            same log gives the same sample; None: all.

    Raises:
        UnknownName: no such service.
        InputError: nothing of a service was logged, its log lacks a column, or the registry is behind the declarations.
    """
    found = [_check_service(settings, declarations, service, sample) for service in services]
    skew = Skew(tuple(f for each in found for f in each.features), tuple(d for each in found for d in each.differences))
    results.save(settings, "skew", skew.payload())
    log.info("skew", values=skew.values, mismatches=skew.mismatches)
    return skew


def _check_service(settings: Settings, declarations: Declarations, name: str, sample: int | None) -> Skew:
    service = declarations.service(name)
    served = _served(settings, service, sample)
    spine = served.select(keys_of(service)).append_column(EVENT_TIMESTAMP, served["serve_time"])
    offline = with_defaults(service, features_at(settings, declarations, name, spine))
    counts = _counts(served, offline)
    features = tuple(FeatureSkew(name, column, served.num_rows, *counts[column]) for column in offline.column_names)
    differences = [
        difference
        for feature in features
        if feature.mismatches
        for difference in _differences(service, feature.feature, served, offline)
    ]
    return Skew(features, tuple(differences))


def _served(settings: Settings, service: FeatureService, sample: int | None) -> pa.Table:
    """The log's rows, or a sample of them, in no particular order."""
    path = settings.lake / "served" / service.name
    table_of_log = delta_table(path)
    if table_of_log is None:
        raise _nothing_logged(path)
    log_rows = table_of_log.to_pyarrow_dataset()
    stamps = [_stamp_of(group.name) for group in service.groups]
    needed = ["request_id", "serve_time", *keys_of(service), *columns_of(service), *stamps]
    missing = [column for column in needed if column not in log_rows.schema.names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}", hint="was the service declared otherwise when it served?"
        )
    table = ibis.table(ibis.Schema.from_pyarrow(log_rows.schema), "served")
    picked = table.select(needed)
    if sample is not None:
        who = [ibis.coalesce(table[column], "") for column in ["request_id", *keys_of(service)]]
        picked = table.order_by(ibis.literal("|").join(who).hash()).limit(sample).select(needed)
    rows = _query(picked, served=log_rows)
    if rows.num_rows == 0:
        raise _nothing_logged(path)
    return rows


def _nothing_logged(path: Path) -> InputError:
    hint = "`playhead serve` logs what it serves; a moment passes until it is in the lake"
    return InputError(f"{path}: no served vectors", hint=hint)


def _counts(served: pa.Table, offline: pa.Table) -> dict[str, tuple[int, int, int]]:
    """By feature: matches, nulls on the served side only, nulls on the offline side only."""
    names = offline.column_names
    sides = [*(served[name].cast(offline[name].type) for name in names), *offline.columns]
    both = pa.table(sides, names=[f"{side}_{i}" for side in ("served", "offline") for i in range(len(names))])
    table = ibis.table(ibis.Schema.from_pyarrow(both.schema), "both")
    sums = {}
    for i in range(len(names)):
        one, other = table[f"served_{i}"], table[f"offline_{i}"]
        sums[f"match_{i}"] = one.identical_to(other).sum()
        sums[f"null_served_{i}"] = (one.isnull() & other.notnull()).sum()
        sums[f"null_offline_{i}"] = (one.notnull() & other.isnull()).sum()
    (row,) = _query(table.agg(**sums), both=both).to_pylist()
    return {
        name: (int(row[f"match_{i}"]), int(row[f"null_served_{i}"]), int(row[f"null_offline_{i}"]))
        for i, name in enumerate(names)
    }


def _differences(service: FeatureService, column: str, served: pa.Table, offline: pa.Table) -> list[Difference]:
    """The first few differences of one feature."""
    place = pa.array(range(served.num_rows), pa.int64())
    offline_column = offline[column]
    pairs = pa.table({"place": place, "served": served[column].cast(offline_column.type), "offline": offline_column})
    table = ibis.table(ibis.Schema.from_pyarrow(pairs.schema), "pairs")
    differing = table.filter(~table.served.identical_to(table.offline)).order_by("place").limit(_SHOWN_PER_FEATURE)
    found = _query(differing, pairs=pairs).to_pylist()
    stamp = _stamp_of(column.partition("__")[0])
    rows = served.take([pair["place"] for pair in found]).to_pylist()
    return [
        Difference(
            service=service.name,
            feature=column,
            request_id=row["request_id"],
            entities={key: row[key] for key in keys_of(service)},
            serve_time=row["serve_time"].isoformat(),
            # What is computed on demand is of no row.
            served_event_timestamp_ms=row.get(stamp),
            served=pair["served"],
            offline=pair["offline"],
        )
        for row, pair in zip(rows, found, strict=True)
    ]


def _stamp_of(view: str) -> str:
    return f"{view}__event_timestamp_ms"


def _query(table: ir.Table, **inputs: Any) -> pa.Table:
    with open_duckdb() as connection:
        for name, rows in inputs.items():
            connection.register(name, rows)
        return connection.sql(ibis.to_sql(table, dialect="duckdb")).to_arrow_table()
