"""Verdicts of suites, and where they are kept: the result `quality`, the history of readings, overrides in Delta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa

from playhead.checks import data_docs, readings, results
from playhead.checks.hours import DOUBLED, VOLUME
from playhead.checks.readings import Reading
from playhead.config import Settings
from playhead.errors import InputError

RESULT = "quality"
CHECK = "quality"
FAILURES = "failures"
"""The measure of a whole suite: how many expectations do not hold."""

_KEPT_DAYS = 400
_LONGEST = 300
_PREFIXES = ("expect_column_values_to_", "expect_column_value_", "expect_column_", "expect_table_", "expect_")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One expectation and what was seen.

    Attributes:
        expectation: its name in Great Expectations.
        column: what it is about; None for the table.
        condition: the rows that it is about; None for all.
        observed: the value seen, where there is one; of a failed expectation on rows, a few of the bad values.
        unexpected: number of bad rows; None for an expectation on the table or the number of values.
        error: why it could not be evaluated, if so.
        value: the figure that stands for it: of hours the worst, of rows how many are bad, else the value seen.
        allowed: the most, or least, that it may be.
        since: when what is wrong begins, aware UTC; None where the suite cannot tell.
    """

    expectation: str
    column: str | None
    condition: str | None
    success: bool
    observed: Any
    unexpected: int | None
    error: str | None
    value: float | None = None
    allowed: float | None = None
    since: datetime | None = None

    @property
    def measure(self) -> str:
        """A short name, the same for every run.

        >>> Finding(expectation="expect_column_values_to_not_be_null", column="user_id", condition=None, success=True,
        ...         observed=None, unexpected=0, error=None).measure
        'not_be_null(user_id)'
        """
        if self.column is not None and (self.column in (VOLUME, DOUBLED) or self.column.endswith(")")):
            return self.column  # of a profile, whose columns say what they measure
        short = next(self.expectation.removeprefix(p) for p in _PREFIXES if self.expectation.startswith(p))
        return f"{short}({self.column})" if self.column else short

    def __str__(self) -> str:
        place = f"({self.column})" if self.column else ""
        rows = f" where {self.condition}" if self.condition else ""
        if self.error is not None:
            return f"{self.expectation}{place}{rows} could not be evaluated: {self.error}"
        bad = "" if self.unexpected is None else f"{self.unexpected} unexpected, "
        since = f", since {self.since:%Y-%m-%d %H:%M}" if self.since else ""
        return f"{self.expectation}{place}{rows}: {bad}observed {self.observed}{since}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a suite found in a batch of days.

    Attributes:
        suite: its name, which is the table's.
        days: the batch; none of a table that has no days.
        findings: one for each expectation.
        rendered: the same as Great Expectations has it, JSON values, for the Data Docs.
    """

    suite: str
    days: tuple[date, ...]
    findings: tuple[Finding, ...]
    rendered: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)

    @property
    def success(self) -> bool:
        """Whether every expectation holds."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The expectations that do not hold."""
        return tuple(f for f in self.findings if not f.success)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "success": self.success,
            "batch": [day.isoformat() for day in self.days],
            "expectations": [
                {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(f).items()}
                for f in self.findings
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Override:
    """A decision to publish days that fail.

    Attributes:
        by: who decided.
        reason: why.

    Raises:
        InputError: without a reason.
    """

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InputError("a day that fails is published for a reason only", hint="say what is known of the failure")


OVERRIDES = pa.schema(
    [
        ("day", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("by", pa.string()),
        ("reason", pa.string()),
        ("failed", pa.list_(pa.string())),
    ]
)
"""Columns of `lake/checks/overrides`, Delta: a row for each day that was published though it failed."""


def keep(
    settings: Settings,
    verdicts: Mapping[date, Sequence[Verdict]],
    *,
    whole: bool,
    now: datetime | None = None,
) -> None:
    """Keep what was found of days: as the result `quality`, in the Data Docs, and in the history of readings.

    The result is `{"days": {day: {"at", "success", "suites": {suite: …}}}}`, the newest days.

    Args:
        settings: says where the home and the lake are.
        verdicts: by day.
        whole: whether this is all that is known of these days; else suites that were not asked stay as they were.
        now: the moment of the check; the wall clock when None.
    """
    at = now or datetime.now(UTC)
    days: dict[str, Any] = (results.load(settings, RESULT) or {}).get("days", {})
    for day, own in verdicts.items():
        before = {} if whole else days.get(day.isoformat(), {})
        suites = before.get("suites", {}) | {verdict.suite: verdict.to_json() for verdict in own}
        success = all(suite["success"] for suite in suites.values())
        days[day.isoformat()] = before | {"at": _text(at), "success": success, "suites": suites}
    results.save(settings, RESULT, {"days": dict(sorted(days.items())[-_KEPT_DAYS:])})
    # A verdict of several days has one page, under the last of them.
    last = {id(verdict): (verdict, day) for day, own in sorted(verdicts.items()) for verdict in own}
    data_docs.write(settings, last.values(), now=at)
    record(settings, [(verdict, day) for day, own in verdicts.items() for verdict in own], now=at)


def record(settings: Settings, verdicts: Sequence[tuple[Verdict, date | None]], *, now: datetime) -> None:
    """Add verdicts to the history of readings, each with the day that it is of; None: of no day.

    A suite adds how many of its expectations fail, and each that fails or ever did: so a success takes back a failure,
    and an expectation that nobody has any more does not fail for ever.
    """
    standing = {
        (one.reading.subject, one.reading.measure): one.reading.ok for one in readings.standings(settings, [CHECK])
    }
    found: list[Reading] = []
    for verdict, day in sorted(verdicts, key=lambda pair: pair[1] or date.max):
        own = _readings(verdict, day, standing)
        standing |= {(one.subject, one.measure): one.ok for one in own}
        found += own
    readings.record(settings, found, now=now)


def record_override(
    settings: Settings, override: Override, failed: Mapping[date, Sequence[Verdict]], *, now: datetime | None = None
) -> None:
    """Keep that days were published though they fail: in `lake/checks/overrides`, `quality` and the readings.

    Args:
        settings: says where the home and the lake are.
        override: who, and why.
        failed: by day, verdicts that fail.
        now: when; the wall clock when None.
    """
    from deltalake import write_deltalake

    at = now or datetime.now(UTC)
    what = {day: [f"{v.suite}: {finding}" for v in own for finding in v.failures] for day, own in failed.items()}
    rows = [
        {"day": day, "at": at, "by": override.by, "reason": override.reason, "failed": own} for day, own in what.items()
    ]
    path = settings.lake / "checks" / "overrides"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(path, pa.Table.from_pylist(rows, OVERRIDES), mode="append")
    days: dict[str, Any] = (results.load(settings, RESULT) or {}).get("days", {})
    for day, own in what.items():
        days[day.isoformat()] |= {"override": asdict(override) | {"at": _text(at), "failed": own}}
    results.save(settings, RESULT, {"days": days})
    readings.record(
        settings,
        [
            Reading(
                check=CHECK,
                subject="publish",
                measure="override",
                ok=True,  # a decision, which is no fault; what failed still fails
                value=float(len(own)),
                of=_start(day),
                detail=_short(f"published by {override.by}: {override.reason}; failed: {'; '.join(own)}"),
            )
            for day, own in what.items()
        ],
        now=at,
    )


def _readings(verdict: Verdict, day: date | None, standing: Mapping[tuple[str, str], bool]) -> list[Reading]:
    failures = verdict.failures
    detail = f"{len(verdict.findings)} expectations"
    first = _short(str(failures[0])) if failures else detail
    since = min((f.since for f in failures if f.since), default=None)
    rows = [
        _reading(verdict, day, FAILURES, ok=not failures, value=len(failures), allowed=0, since=since, detail=first)
    ]
    by_measure: dict[str, list[Finding]] = {}
    for one in verdict.findings:
        by_measure.setdefault(one.measure, []).append(one)
    for measure, own in by_measure.items():
        # Of two expectations of one name, e.g. with other conditions, the one that fails.
        one = next((f for f in own if not f.success), own[0])
        if not one.success or (verdict.suite, measure) in standing:
            rows.append(
                _reading(
                    verdict,
                    day,
                    measure,
                    ok=one.success,
                    value=one.value,
                    allowed=one.allowed,
                    since=one.since,
                    detail="" if one.success else _short(str(one)),
                )
            )
    gone = [m for (subject, m), ok in standing.items() if subject == verdict.suite and not ok and m != FAILURES]
    # Only of a suite that holds: one that could not go on to its end has not asked everything.
    for measure in gone if verdict.success else ():
        if measure not in by_measure:
            rows.append(_reading(verdict, day, measure, ok=True, detail="expected no more"))
    return rows


def _reading(verdict: Verdict, day: date | None, measure: str, **values: Any) -> Reading:
    return Reading(check=CHECK, subject=verdict.suite, measure=measure, of=_start(day) if day else None, **values)


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
