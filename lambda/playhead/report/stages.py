"""What stages and checks kept of their last run, read from `results/` into values.

A result that cannot be read, or that an older version wrote in another shape, is told apart from one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from playhead.checks import results
from playhead.config import Settings
from playhead.errors import InputError

Value = TypeVar("Value")

_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The last replay: rows read and skipped, records sent, and the first few broken rows."""

    at: datetime
    rows: int
    skipped: Mapping[str, int]
    problems: tuple[str, ...]
    events: int
    sent: int
    not_sent: Mapping[str, int]
    interrupted: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """The naive count of the events topic, held against the lake and the DLQ. See `playhead.checks.accounts`."""

    at: datetime
    records: int
    events: int
    duplicates: int
    dead_letters: Mapping[str, int]
    lake_rows: int
    late: int
    dlq: Mapping[str, int]
    adds_up: bool

    @property
    def unaccounted(self) -> int:
        """Records that are in neither lake nor DLQ and no duplicates; below 0 when something is there twice."""
        return self.records - self.lake_rows - self.duplicates - sum(self.dlq.values())


@dataclass(frozen=True, kw_only=True)
class Writer:
    """The last online writer that ended: outcome to feature rows."""

    at: datetime
    read: int
    rows: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Serve:
    """The last feature server that ended: requests, and fate to vectors."""

    at: datetime
    requests: int
    vectors: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Landed:
    """The last lander: service to vectors, and reason to records that were no vector."""

    at: datetime
    landed: Mapping[str, int]
    repeated: int
    skipped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """The last training set, with the nulls of each feature and the fingerprint of each group."""

    at: datetime
    service: str
    output: str
    rows: int
    fingerprints: Mapping[str, str]
    nulls: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FeatureSkew:
    """One feature: values that were served, and those that the offline store has otherwise."""

    service: str
    feature: str
    rows: int
    matches: int
    mismatches: int
    null_served: int
    null_offline: int
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that differs."""

    service: str
    feature: str
    request_id: str
    entities: Mapping[str, str | None]
    serve_time: datetime
    served_event_timestamp_ms: int | None
    served: Any
    offline: Any
    cause: str = "not known"
    lag_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Skew:
    """The last skew check."""

    at: datetime
    values: int
    matches: int
    mismatches: int
    features: tuple[FeatureSkew, ...]
    differences: tuple[Difference, ...]
    causes: Mapping[str, int] = field(default_factory=dict)
    lag_ms: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The last batch run: the days it published, and view to rows."""

    at: datetime
    days: tuple[str, ...]
    events: int
    views: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LabelledDay:
    """What came of a service's vectors of a day: label to rows, and vectors whose wait is not over."""

    service: str
    day: str
    rows: int
    labels: Mapping[str, int]
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The last run that labelled what was served."""

    at: datetime
    days: tuple[LabelledDay, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """By group how the last backfill compares with the archive: `points` and how many are `different`."""

    at: datetime
    groups: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An expectation and what was seen."""

    expectation: str
    column: str | None
    condition: str | None
    success: bool
    observed: Any
    unexpected: int | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a suite found in a batch of days.

    Attributes:
        suite: its name.
        days: the days that it was judged for, in order.
        at: when.
        expectations: how many there are.
        failures: those that do not hold.
    """

    suite: str
    days: tuple[str, ...]
    at: datetime
    expectations: int
    failures: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Override:
    """A decision to publish a day that fails its gate: when, by whom, why, and what failed."""

    at: datetime
    by: str
    reason: str
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The last run of each stage and check; None before its first.

    Attributes:
        quality: failed verdicts first, then by suite and day.
        overrides: day to the decision to publish it though it fails.
        saved: name of every result to when it was saved.
        problems: result to why it could not be read.
    """

    replay: Replay | None
    accounts: Accounts | None
    writer: Writer | None
    batch: Batch | None
    serve: Serve | None
    land_served: Landed | None
    training_set: TrainingSet | None
    labels: Labels | None
    skew: Skew | None
    backfill: Backfill | None
    quality: tuple[Verdict, ...]
    overrides: Mapping[str, Override]
    saved: Mapping[str, datetime]
    problems: Mapping[str, str]

    @property
    def gates(self) -> dict[str, bool]:
        """Day, as ISO date, to whether every suite that was asked of it holds."""
        found: dict[str, bool] = {}
        for verdict in self.quality:
            found |= {day: found.get(day, True) and not verdict.failures for day in verdict.days}
        return found


@dataclass(frozen=True, kw_only=True)
class _Suite:
    batch: tuple[str, ...]
    expectations: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class _Day:
    at: datetime
    suites: Mapping[str, _Suite]
    override: Override | None = None


@dataclass(frozen=True, kw_only=True)
class _Quality:
    days: Mapping[str, _Day]


@dataclass(frozen=True)
class _Saved:
    at: datetime


_KINDS: Mapping[str, type[Any]] = {
    "replay": Replay,
    "accounts": Accounts,
    "writer": Writer,
    "batch": Batch,
    "serve": Serve,
    "land_served": Landed,
    "training_set": TrainingSet,
    "labels": Labels,
    "skew": Skew,
    "backfill": Backfill,
}


def read_stages(settings: Settings) -> Stages:
    """Read every result of a home."""
    found: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for path in sorted((settings.home / "results").glob(f"[a-z]*{_SUFFIX}")):
        name = path.name.removesuffix(_SUFFIX)
        try:
            found[name] = results.load(settings, name) or {}
        except (InputError, OSError, UnicodeDecodeError) as error:
            problems[name] = str(error)

    def read(name: str, kind: type[Value]) -> Value | None:
        if name not in found:
            return None
        try:
            return parse(kind, found[name])
        except InputError as error:
            problems[name] = str(error)
            return None

    values = {name: read(name, kind) for name, kind in _KINDS.items()}
    quality = read("quality", _Quality)
    saved = {name: value.at for name in found if (value := read(name, _Saved)) is not None}
    return Stages(
        **values,
        quality=_verdicts(quality) if quality else (),
        overrides={name: day.override for name, day in quality.days.items() if day.override} if quality else {},
        saved=saved,
        problems=problems,
    )


def parse(kind: type[Value], payload: Any) -> Value:
    """A value from JSON values; keys that it does not have are passed over.

    Raises:
        InputError: a key is missing or has another type.

    >>> parse(_Saved, {"at": "2026-01-02T03:04:05+00:00", "more": 1}).at.isoformat()
    '2026-01-02T03:04:05+00:00'
    """
    try:
        return TypeAdapter(kind).validate_python(payload)
    except ValidationError as error:
        first, *more = error.errors()
        also = f", and {len(more)} more" if more else ""
        raise InputError(
            f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}{also}",
            hint="another version wrote it? run the stage again",
        ) from error


def _verdicts(quality: _Quality) -> tuple[Verdict, ...]:
    """One for each batch that a suite judged: a result has it under every one of its days."""
    days: dict[tuple[str, tuple[str, ...], datetime], list[str]] = {}
    suites: dict[tuple[str, tuple[str, ...], datetime], _Suite] = {}
    for name, day in sorted(quality.days.items()):
        for suite, own in day.suites.items():
            key = (suite, own.batch, day.at)
            days.setdefault(key, []).append(name)
            suites[key] = own
    found = [_verdict(suite, days[suite, batch, at], at, own) for (suite, batch, at), own in suites.items()]
    return tuple(sorted(found, key=lambda verdict: (not verdict.failures, verdict.suite, verdict.days)))


def _verdict(name: str, days: Sequence[str], at: datetime, own: _Suite) -> Verdict:
    failures = tuple(finding for finding in own.expectations if not finding.success)
    return Verdict(suite=name, days=tuple(days), at=at, expectations=len(own.expectations), failures=failures)
