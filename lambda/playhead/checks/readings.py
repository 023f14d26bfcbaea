"""What checks have measured, kept in Delta: what holds now, and since when what does not.

A check measures something of a subject and holds it against what is allowed; each such reading is a row of
`lake/checks/readings`. The page on call, Prometheus and alerts read them all alike, whatever check they are of.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from playhead.config import Settings
from playhead.serving.delta import delta_table

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = pa.schema(
    [
        ("check", pa.string()),
        ("subject", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("allowed", pa.float64()),
        ("ok", pa.bool_()),
        ("of", pa.timestamp("us", tz="UTC")),
        ("since", pa.timestamp("us", tz="UTC")),
        ("detail", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of `lake/checks/readings`, a Delta table by `check`."""

MOST_FILES = 200
"""So many files the history may have before it is made compact."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One figure beside what is allowed.

    Attributes:
        check: the check's name: `quality`, `drift`, `freshness`, `skew` …
        subject: what it is of: a feature (`view__feature`), a view, a topic, a service, `events`.
        measure: what was measured: `psi`, `null_rate`, `rows` …
        value: the figure; None when there is none, e.g. of a broken rule that counts nothing.
        allowed: the most, or least, that it may be; None when no number says so.
        ok: whether it is as it should be.
        of: the start of the data that it is of, a day's or an hour's, aware UTC; None when it is of the moment.
        since: when what is wrong began, where the check can tell; else it is found from the readings before.
        detail: a sentence for a person; empty when there is nothing to add.
    """

    check: str
    subject: str
    measure: str
    ok: bool
    value: float | None = None
    allowed: float | None = None
    of: datetime | None = None
    since: datetime | None = None
    detail: str = ""

    @property
    def about(self) -> tuple[str, str, str]:
        """What later readings of the same share."""
        return self.check, self.subject, self.measure


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How something stands.

    Attributes:
        reading: the one that counts: of the newest data, and of that the one measured last.
        at: when it was measured.
        since: since when it is not as it should be; None when it is.
        before: values of earlier data, the oldest first, the reading's own last; of what was measured again, the last.
        moments: what each of `before` is of: the start of its data, or else when it was measured.
    """

    reading: Reading
    at: datetime
    since: datetime | None
    before: tuple[float | None, ...] = ()
    moments: tuple[datetime, ...] = ()


def record(settings: Settings, readings: Sequence[Reading], *, now: datetime | None = None) -> None:
    """Add readings to the history.

    Args:
        settings: says where the lake is.
        readings: of any checks; none adds nothing.
        now: when they were measured; the wall clock when None.
    """
    from deltalake import write_deltalake

    if not readings:
        return
    at = now or datetime.now(UTC)
    rows = [{field.name: getattr(one, field.name) for field in fields(one)} | {"at": at} for one in readings]
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(path, pa.Table.from_pylist(rows, SCHEMA), mode="append", partition_by=["check"])
    _compact(settings)


def _compact(settings: Settings) -> None:
    """A check of every minute writes as many files: when there are too many to read at once, they become few."""
    from deltalake.exceptions import CommitFailedError

    table = delta_table(_path(settings))
    if table is None or len(table.file_uris()) <= MOST_FILES:
        return
    # Another check has just done it.
    with contextlib.suppress(CommitFailedError):
        table.optimize.compact()
        # Files that no version of the last week has: whoever reads an older one meanwhile reads on.
        table.vacuum(dry_run=False)
        table.cleanup_metadata()


def standings(settings: Settings, checks: Iterable[str] | None = None) -> list[Standing]:
    """How everything stands that was ever measured, by check, subject and measure.

    Args:
        settings: says where the lake is.
        checks: only these; all when None.
    """
    table = delta_table(_path(settings))
    if table is None:
        return []
    wanted = None if checks is None else [("check", "in", sorted(checks))]
    return _standings(table.to_pyarrow_table(partitions=wanted))


def standing_of(rows: Iterable[Mapping[str, object]]) -> list[Standing]:
    """How things stand by rows of the history, in the columns of `SCHEMA` and any order.

    What is measured again of the same data replaces what was measured before. Since when something is wrong is what the
    first of its last readings in a row that are wrong says, or else the start of that one's data, or its moment.

    >>> def row(day: int, ok: bool, at: int) -> dict[str, object]:
    ...     of = datetime(2026, 3, day, tzinfo=UTC)
    ...     one = Reading(check="drift", subject="listener__plays_1h", measure="psi", ok=ok, of=of)
    ...     return vars(one) | {"at": datetime(2026, 4, at, tzinfo=UTC)}
    >>> [now] = standing_of([row(1, True, 1), row(2, False, 2), row(3, False, 3)])
    >>> now.since
    datetime.datetime(2026, 3, 2, 0, 0, tzinfo=datetime.timezone.utc)
    >>> [now] = standing_of([row(2, False, 2), row(2, True, 4)])
    >>> now.since is None
    True
    """
    return _standings(pa.Table.from_pylist([*rows], SCHEMA))


_STANDINGS = """
WITH measured AS (
  SELECT *, coalesce("of", "at") AS moment FROM history
), told AS (
  SELECT * FROM measured
  QUALIFY row_number() OVER (PARTITION BY "check", subject, measure, moment ORDER BY "at" DESC) = 1
), held AS (
  SELECT *, max(moment) FILTER (ok) OVER (PARTITION BY "check", subject, measure) AS good FROM told
)
SELECT
  arg_max(held, moment) AS newest,
  arg_min(coalesce(since, moment), moment) FILTER (good IS NULL OR moment > good) AS began,
  list("value" ORDER BY moment) AS "before", list(epoch_us(moment) ORDER BY moment) AS moments
FROM held GROUP BY "check", subject, measure ORDER BY "check", subject, measure
"""
"""Of each data the reading that was measured last; of these the newest, and the first that is wrong after the last good
one. In DuckDB: 200 features of six measures make 100,000 rows in 90 days."""


def _standings(history: pa.Table) -> list[Standing]:
    import duckdb

    with duckdb.connect() as connection:
        # Else moments come back in the zone of the machine.
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        connection.register("history", history)
        found = connection.sql(_STANDINGS).to_arrow_table()
    # Many values are of few moments.
    moment = functools.cache(lambda micros: _EPOCH + timedelta(microseconds=micros))
    return [
        Standing(
            reading=Reading(**{field.name: _utc(newest[field.name]) for field in fields(Reading)}),
            at=_utc(newest["at"]),
            since=_utc(began),
            before=tuple(before),
            moments=tuple(map(moment, moments)),
        )
        for newest, began, before, moments in zip(*(column.to_pylist() for column in found.columns), strict=True)
    ]


def _utc(value: Any) -> Any:
    """Arrow's moments have a time zone of another library."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _path(settings: Settings) -> Path:
    return settings.lake / "checks" / "readings"
