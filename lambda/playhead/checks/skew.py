"""The skew check: what was served against what the offline store says for the same moments.

Each served vector is computed again as of its serve time, through Feast, and compared value by value: equal to the last
digit, and null only where the other side is null. Each value that differs gets a cause; see `playhead.checks.causes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import structlog
from deltalake import write_deltalake

from playhead.checks import results
from playhead.checks.causes import Attributed, Cause, attribute
from playhead.checks.readings import Reading, record
from playhead.columns import Column, Flags
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import FeatureService
from playhead.errors import InputError
from playhead.local.sql import compiled
from playhead.objectives import CheckSettings
from playhead.pushed import pushed
from playhead.serving.delta import delta_table, rows_of
from playhead.serving.feast_offline import Cut
from playhead.serving.lake_rows import open_duckdb
from playhead.serving.spine import EVENT_TIMESTAMP, columns_of, keys_of, with_defaults
from playhead.serving.training_set import features_at

log = structlog.get_logger()

_SHOWN_PER_FEATURE = 3
_EVIDENCE = ("fallback", "statuses")
"""Columns of the log that say why; logs from before they were there lack them."""

_QUANTILES = (0.05, 0.5, 0.95)
_EXPLAINED = (Cause.PROPAGATION_LAG,)
"""Causes that no threshold counts: a row takes its time. How long it may is a threshold of its own."""


@dataclass(frozen=True)
class FeatureSkew:
    """One feature of one service.

    Attributes:
        null_served: rows where only the served side is null.
        null_offline: rows where only the offline side is.
        causes: cause to number of values that differ for it.
        smape: of numbers, the mean of 2|s - o| / (|s| + |o|) over rows where both are there, 0 where both are 0: from 0
            to 2 (S. Makridakis, Accuracy measures, International Journal of Forecasting 9, 1993); else null.
        quantiles: of numbers, the 5th, 50th and 95th percentile served, then offline; else null.
        edits: of lists, how many items have to be put in, taken out or replaced, on average over rows where both are
            there; else null.
    """

    service: str
    feature: str
    rows: int
    matches: int
    null_served: int
    null_offline: int
    causes: Mapping[str, int] = field(default_factory=dict)
    smape: float | None = None
    quantiles: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    edits: float | None = None

    @property
    def mismatches(self) -> int:
        """Rows where the two sides differ."""
        return self.rows - self.matches

    @property
    def match_rate(self) -> float:
        """Share of rows where they do not."""
        return self.matches / self.rows if self.rows else 1.0

    @property
    def counted_rate(self) -> float:
        """Share of rows that differ for a cause that counts against the threshold."""
        counted = self.mismatches - sum(self.causes.get(cause, 0) for cause in _EXPLAINED)
        return counted / self.rows if self.rows else 0.0


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
    cause: str
    lag_ms: int | None


@dataclass(frozen=True)
class Skew:
    """All features that were compared, and a few of the differences of each; how long rows took that came too late,
    in milliseconds, of each value that differs for it.
    """

    features: tuple[FeatureSkew, ...]
    differences: tuple[Difference, ...]
    lags_ms: tuple[int, ...] = ()

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
    def causes(self) -> dict[str, int]:
        """Cause to number of values, the most frequent first."""
        total: Counter[str] = Counter()
        for feature in self.features:
            total.update(feature.causes)
        return dict(total.most_common())

    @property
    def lag_ms(self) -> dict[str, int] | None:
        """Quantiles of `lags_ms`; None without any."""
        if not self.lags_ms:
            return None
        quantiles = np.quantile(self.lags_ms, [0.5, 0.99, 1.0], method="higher").tolist()
        return dict(zip(("p50", "p99", "max"), map(int, quantiles), strict=True))

    @property
    def rows(self) -> dict[str, int]:
        """Served vectors that were compared, by service."""
        return {feature.service: feature.rows for feature in self.features}

    def readings(self, thresholds: CheckSettings) -> list[Reading]:
        """Of each feature the service in which most values differ, and how long rows were on their way."""
        figures = []
        for name, each in {f.feature: f for f in sorted(self.features, key=lambda f: f.counted_rate)}.items():
            why = ", ".join(f"{cause} {count:,}" for cause, count in each.causes.items())
            allowed = thresholds.skew.get(name, thresholds.max_skew)
            figures.append((name, "mismatch_rate", each.counted_rate, allowed, why))
        if self.lag_ms:
            allowed = thresholds.max_propagation_lag.total_seconds()
            figures.append(("propagation", "p99_s", self.lag_ms["p99"] / 1_000, allowed, ""))
        return [
            Reading(check="skew", subject=of, measure=name, value=value, allowed=most, ok=value <= most, detail=detail)
            for of, name, value, most, detail in figures
        ]

    def failures(self, thresholds: CheckSettings) -> list[str]:
        """What is beyond a threshold, in words; nothing when all is well."""
        return [_WORDS[each.measure].format(**vars(each)) for each in self.readings(thresholds) if not each.ok]

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        features = [{**asdict(feature), "mismatches": feature.mismatches} for feature in self.features]
        totals = {"values": self.values, "matches": self.matches, "mismatches": self.mismatches}
        return {
            "rows": self.rows,
            **totals,
            "causes": self.causes,
            "lag_ms": self.lag_ms,
            "features": features,
            "differences": [asdict(d) for d in self.differences],
        }


_WORDS = {
    "mismatch_rate": "{subject}: {value:.2%} differ, allowed {allowed:.2%} ({detail})",
    "p99_s": "propagation lag: p99 {value:.1f} s, allowed {allowed:.1f} s",
}


@pushed("check_skew", lambda found: {"rows": sum(found.rows.values()), "findings": found.mismatches})
def check_skew(
    settings: Settings,
    declarations: Declarations,
    services: Sequence[str],
    *,
    sample: int | None = None,
    cut: Cut = "as-served",
    now: datetime | None = None,
) -> Skew:
    """Compare the served log with the offline store, and keep the result as `skew`.

    Args:
        settings: says where the lake and the registry are.
        declarations: what is declared; the registry must hold it.
        services: names of declared feature services.
        sample: compare that many vectors of each service, picked by the hash of request and entities, so that the
            same log gives the same sample; None: all.
        cut: what training sees: what online knew, or the backfill, in which late events are where they belong.
        now: the moment of the check, for its history; the wall clock when None.

    Raises:
        UnknownName: no such service.
        InputError: nothing of a service was logged, its log lacks a column, or the registry is behind the declarations.
    """
    found = [_check_service(settings, declarations, service, sample, cut) for service in services]
    skew = Skew(
        tuple(f for each in found for f in each.features),
        tuple(d for each in found for d in each.differences),
        tuple(lag for each in found for lag in each.lags_ms),
    )
    results.save(settings, "skew", skew.payload())
    _keep(settings, skew, now or datetime.now(UTC))
    record(settings, skew.readings(settings.checks), now=now)
    log.info("skew", values=skew.values, mismatches=skew.mismatches, **skew.causes)
    return skew


def _check_service(settings: Settings, declarations: Declarations, name: str, sample: int | None, cut: Cut) -> Skew:
    service = declarations.service(name)
    served = _served(settings, service, sample)
    spine = served.select(keys_of(service)).append_column(EVENT_TIMESTAMP, served["serve_time"])
    offline = with_defaults(service, features_at(settings, declarations, name, spine, cut=cut))
    sides = {
        column: (Column.of(served[column].cast(offline[column].type)), Column.of(offline[column]))
        for column in offline.column_names
    }
    differing = {column: _differing(*both) for column, both in sides.items()}
    causes = attribute(settings, declarations, service, served, differing)
    features = tuple(
        _compared(name, column, *both, differing[column], causes.get(column, {})) for column, both in sides.items()
    )
    differences = [
        each for column in causes for each in _differences(service, column, served, offline[column], causes[column])
    ]
    lags = [a.lag_ms for of in causes.values() for a in of.values() if a.lag_ms is not None]
    return Skew(features, tuple(differences), tuple(lags))


def _differing(served: Column, offline: Column) -> Flags:
    equal = np.array(served.values == offline.values, np.bool_)
    found: Flags = ~np.where(served.valid & offline.valid, equal, served.valid == offline.valid)
    return found


def _compared(
    service: str, column: str, served: Column, offline: Column, differing: Flags, causes: Mapping[int, Attributed]
) -> FeatureSkew:
    both = served.valid & offline.valid
    smape, quantiles, edits = None, None, None
    if served.values.dtype != np.object_:
        one, other = served.values[both].astype(np.float64), offline.values[both].astype(np.float64)
        if len(one):
            size = np.abs(one) + np.abs(other)
            smape = float(np.mean(np.where(size > 0, 2 * np.abs(one - other) / np.where(size > 0, size, 1), 0)))
        quantiles = (_quantiles(served), _quantiles(offline))
    elif any(isinstance(value, list) for value in served.values[both].tolist()):
        places = np.flatnonzero(differing & both).tolist()
        edits = sum(_edits(served.values[place], offline.values[place]) for place in places) / int(both.sum())
    return FeatureSkew(
        service=service,
        feature=column,
        rows=len(differing),
        matches=int((~differing).sum()),
        null_served=int((~served.valid & offline.valid).sum()),
        null_offline=int((served.valid & ~offline.valid).sum()),
        causes=dict(Counter(str(each.cause) for each in causes.values()).most_common()),
        smape=smape,
        quantiles=quantiles,
        edits=edits,
    )


def _quantiles(column: Column) -> tuple[float, ...]:
    values = column.values[column.valid].astype(np.float64)
    return tuple(np.quantile(values, _QUANTILES).tolist()) if len(values) else ()


def _edits(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The edit distance of two lists (V. Levenshtein, Soviet Physics Doklady 10, 1966)."""
    row = list(range(len(other) + 1))
    for i, item in enumerate(one, start=1):
        above, row[0] = row[0], i
        for j, another in enumerate(other, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (item != another))
    return row[-1]


def _keep(settings: Settings, skew: Skew, now: datetime) -> None:
    """Add the figures of each feature to the history, `lake/checks/skew`."""
    rows = [
        {"at": now, **{name: getattr(each, name) for name in _HISTORY.names if hasattr(each, name)}}
        | {"causes": list(each.causes.items())}
        for each in skew.features
    ]
    path = settings.lake / "checks" / "skew"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(path, pa.Table.from_pylist(rows, _HISTORY), mode="append", schema_mode="merge")


_HISTORY = pa.schema(
    [
        ("at", pa.timestamp("us", tz="UTC")),
        ("service", pa.string()),
        ("feature", pa.string()),
        ("rows", pa.int64()),
        ("matches", pa.int64()),
        ("null_served", pa.int64()),
        ("null_offline", pa.int64()),
        ("smape", pa.float64()),
        ("edits", pa.float64()),
        ("causes", pa.map_(pa.string(), pa.int64())),
    ]
)


def _served(settings: Settings, service: FeatureService, sample: int | None) -> pa.Table:
    """The log's rows, or a sample of them, in no particular order."""
    path = settings.lake / "served" / service.name
    table_of_log = delta_table(path)
    if table_of_log is None:
        raise _nothing_logged(path)
    log_rows = rows_of(table_of_log, path)
    stamps = [_stamp_of(group.name) for group in service.groups]
    needed = ["request_id", "serve_time", *keys_of(service), *columns_of(service), *stamps, "fingerprints"]
    missing = [column for column in needed if column not in log_rows.schema.names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}", hint="was the service declared otherwise when it served?"
        )
    table = ibis.table(ibis.Schema.from_pyarrow(log_rows.schema), "served")
    needed += [column for column in _EVIDENCE if column in log_rows.schema.names]
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


def _differences(
    service: FeatureService, column: str, served: pa.Table, offline: pa.ChunkedArray, causes: Mapping[int, Attributed]
) -> list[Difference]:
    """A few differences of one feature: of each cause the first."""
    first: dict[Cause, int] = {}
    for place in sorted(causes):
        first.setdefault(causes[place].cause, place)
    more = [place for place in sorted(causes) if place not in first.values()]
    places = sorted([*first.values(), *more[: max(0, _SHOWN_PER_FEATURE - len(first))]])
    stamp = _stamp_of(column.partition("__")[0])
    rows = served.take(places).to_pylist()
    return [
        Difference(
            service=service.name,
            feature=column,
            request_id=row["request_id"],
            entities={key: row[key] for key in keys_of(service)},
            serve_time=row["serve_time"].isoformat(),
            # What is computed on demand is of no row.
            served_event_timestamp_ms=row.get(stamp),
            served=row[column],
            offline=offline[place].as_py(),
            cause=str(causes[place].cause),
            lag_ms=causes[place].lag_ms,
        )
        for row, place in zip(rows, places, strict=True)
    ]


def _stamp_of(view: str) -> str:
    return f"{view}__event_timestamp_ms"


def _query(table: ir.Table, **inputs: Any) -> pa.Table:
    with open_duckdb() as connection:
        for name, rows in inputs.items():
            connection.register(name, rows)
        return connection.sql(compiled(table)).to_arrow_table()
