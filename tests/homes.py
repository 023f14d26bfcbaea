"""Homes for tests of the report: one that has run, one of ninety days where much is wrong, one where all is well."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from playhead.checks import quality, results
from playhead.checks.readings import Reading, record
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.lineage import lineage_of
from tests.archive import write_rows
from tests.lake import write_events

NOW = datetime(2025, 3, 4, 12, tzinfo=UTC)
NOON = 1_741_003_200_000  # 2025-03-03 12:00 UTC
DAY = timedelta(days=1)
DAYS = 90
EVIL = "<script>alert('x')</script>"

MIDNIGHT = datetime(2025, 3, 3, tzinfo=UTC)
"""The start of the newest day of data."""


_MEASURES = (("psi", 1.0), ("null_shift", 0.1), ("js", 0.2))
"""Measure to its usual size."""


def save(settings: Settings, name: str, **payload: Any) -> None:
    """Keep a result of three minutes ago."""
    results.save(settings, name, payload, now=NOW - timedelta(minutes=3))


def make_used(settings: Settings) -> None:
    """A home that has run: lake, results, and something wrong in most of them."""
    declared = load_declarations()
    event = {"user_id": "u1", "event_type": "PLAY"}
    events = [event | {"event_id": f"e{n}", "event_time_ms": NOON + n * 1_000} for n in range(1_200)]
    events += [event | {"event_id": "late", "event_time_ms": NOON - 86_400_000, "late": True}]
    write_events(settings.lake, events)
    for name in ("listener", "session", "track_daily"):
        plan = declared.plan(name)
        write_rows(settings.lake, plan, [{plan.key: "one", "event_timestamp_ms": NOON}])
    replay = {"rows": 1_300, "skipped": {"no_user": 50}, "problems": [f"f.json:3: broken: {EVIL}"], "events": 1_250}
    save(settings, "replay", **replay, sent=1_250, not_sent={}, interrupted=False, seconds=2.5)
    counts = {"records": 1_250, "events": 1_201, "duplicates": 20, "dead_letters": {"malformed": 29}}
    save(settings, "accounts", **counts, lake_rows=1_201, late=1, dlq={"malformed": 29}, adds_up=True)
    value = {"service": "listener_v1", "feature": "listener__plays_1h", "rows": 1_000, "matches": 998}
    skew = {"values": 1_000, "matches": 998, "mismatches": 2}
    differing = {"request_id": EVIL, "entities": {"user_id": "u1"}, "serve_time": NOW.isoformat(), "served": 3}
    differing |= {"service": "listener_v1", "feature": value["feature"], "served_event_timestamp_ms": None}
    features = [value | {"mismatches": 2, "null_served": 1, "null_offline": 0, "causes": {"late_event": 2}}]
    skew |= {"causes": {"late_event": 2}, "lag_ms": None}
    differing |= {"offline": 4, "cause": "late_event", "lag_ms": None}
    save(settings, "skew", **skew, features=features, differences=[differing])
    save(
        settings, "quality", days={"2025-03-03": day_of("2025-03-03", failed=True), "2025-03-02": day_of("2025-03-02")}
    )


def day_of(day: str, *, failed: bool = False, batch: tuple[str, ...] = ()) -> dict[str, Any]:
    """A day of the result `quality`."""
    finding = quality.Finding(
        expectation="expect_column_values_to_be_between",
        column="ms_played",
        condition=None,
        success=not failed,
        observed=[-1],
        unexpected=7,
        error=None,
    )
    days = tuple(map(date.fromisoformat, batch or (day,)))
    suite = quality.Verdict(suite="events", days=days, findings=(finding,))
    return {"at": NOW.isoformat(), "success": not failed, "suites": {"events": suite.to_json()}}


def make_bad(settings: Settings) -> None:
    """A home of 90 days in which much is wrong: drift, nulls, late parts, days that failed or are missing."""
    make_used(settings)
    declared = load_declarations()
    names = [name for name in lineage_of(declared).reads if not name.startswith("context__")]
    _write_days(settings, missing={40, 41}, failed={1, 55})
    drift = [_drift(name, wrong=number < 20, number=number) for number, name in enumerate(names)]
    record(settings, [reading for each in drift for reading in each], now=NOW - timedelta(minutes=9))
    record(settings, [*_freshness(late=True), *_quality(wrong=True)], now=NOW - timedelta(minutes=2))
    score = {"check": "shadow_scores", "subject": "listener_v1/ranker", "measure": "auc", "allowed": 0.6}
    record(settings, [Reading(**score, value=0.71, ok=True)], now=NOW - timedelta(hours=5))


def make_clean(settings: Settings) -> None:
    """A home in which everything was measured and nothing is wrong."""
    _write_days(settings, missing=set(), failed=set())
    counts = {"records": 400, "events": 360, "duplicates": 40, "dead_letters": {}, "late": 0, "dlq": {}}
    save(settings, "accounts", **counts, lake_rows=360, adds_up=True)
    save(
        settings, "skew", values=1_000, matches=1_000, mismatches=0, features=[], differences=[], causes={}, lag_ms=None
    )
    drift = [_drift(name, wrong=False, number=0) for name in ("listener__plays_1h", "track__plays_1h")]
    record(settings, [reading for each in drift for reading in each], now=NOW - timedelta(minutes=9))
    record(settings, [*_freshness(late=False), *_quality(wrong=False)], now=NOW - timedelta(minutes=2))


def _write_days(settings: Settings, *, missing: set[int], failed: set[int]) -> None:
    """Ninety days of events, published but for those that are missing or failed; days are counted back."""
    days = [MIDNIGHT - back * DAY for back in range(DAYS)]
    for back, day in enumerate(days):
        noon_ms = int((day + DAY / 2).timestamp()) * 1_000
        busy = 60 + (back * 37) % 120
        events = [
            {"event_id": f"{back}-{n}", "user_id": f"u{n}", "event_type": "PLAY", "event_time_ms": noon_ms + n}
            for n in range(busy)
        ]
        write_events(settings.lake, events, name="ninety")
    names = [f"{day:%Y-%m-%d}" for day in reversed(days)]
    out = [
        name for back, name in zip(reversed(range(DAYS)), names, strict=True) if back and back not in missing | failed
    ]
    fingerprints = {plan.name: plan.fingerprint for plan in load_declarations().daily_plans}
    end = datetime.fromisoformat(out[-1]).replace(tzinfo=UTC) + DAY
    mark = {"dt": out[-1], "end": end.isoformat(), "at": NOW.isoformat(), "days": out, "fingerprints": fingerprints}
    (settings.lake / "views").mkdir(parents=True, exist_ok=True)
    (settings.lake / "views" / "_published.json").write_text(json.dumps(mark))
    gate = {name: day_of(name, failed=(DAYS - 1 - place) in failed) for place, name in enumerate(names[:-1])}
    save(settings, "quality", days=gate)
    labelled = pa.table({"request_id": ["r"] * 60, "dt": [name for name in names[-20:] for _ in range(3)]})
    write_deltalake(settings.lake / "labelled" / "listener_v1", labelled, partition_by=["dt"])
    outcome = {"rows": 3, "outcomes": {}, "labels": {"positive": 1, "negative": 1, "neither": 1}, "waiting": 2}
    save(settings, "labels", days=[{"service": "listener_v1", "day": names[-1], **outcome}], seconds=3.0)
    written = (NOW - timedelta(minutes=4)).timestamp()
    for file in settings.lake.rglob("*"):
        os.utime(file, (written, written))


def _drift(subject: str, *, wrong: bool, number: int) -> Iterator[Reading]:
    """Ninety days of a few measures; what is wrong has been so for some days."""
    for measure, scale in _MEASURES[: None if wrong else 2]:
        for place in range(DAYS):
            wave = 0.05 + 0.03 * math.sin(place / (3 + number % 5)) + 0.01 * ((place * 7 + number) % 3)
            drifted = wrong and measure in ("psi", "js") and place > DAYS - 4 - number % 20
            value = scale * (wave + (0.25 if drifted else 0))
            detail = "plays from 3.1 to 7.4 on average" if drifted else ""
            yield Reading(
                check="drift",
                subject=subject,
                measure=measure,
                value=value,
                allowed=0.2 * scale,
                ok=not drifted,
                of=MIDNIGHT - (DAYS - 1 - place) * DAY,
                detail=detail,
            )


def _freshness(*, late: bool) -> Iterator[Reading]:
    for subject, measure, value, allowed in (
        ("events", "measured", 1.0, None),
        ("lake", "lag_s", 420.0 if late else 12.0, 60.0),
        ("online", "p99_s", 12.5 if late else 1.7, 10.0),
        ("watermark", "lag_s", 9.0, 60.0),
        ("batch", "lag_s", 43_000.0, 172_800.0),
        ("playhead-online-writer", "records", 120.0, 10_000.0),
    ):
        ok = allowed is None or value <= allowed
        since = None if ok else NOW - timedelta(minutes=37)
        yield Reading(
            check="freshness", subject=subject, measure=measure, value=value, allowed=allowed, ok=ok, since=since
        )


def _quality(*, wrong: bool) -> Iterator[Reading]:
    for measure, value, allowed in (
        ("null_rise(track_id)", 0.41 if wrong else 0.01, 0.2),
        ("null_rise(artist_id)", 0.02, 0.2),
        ("doubled", 0.0, 0.01),
    ):
        ok = value <= allowed
        detail = "" if ok else "from 2 % to 43 % of the events of an hour"
        of = MIDNIGHT + timedelta(hours=9)
        yield Reading(
            check="quality",
            subject="events",
            measure=measure,
            value=value,
            allowed=allowed,
            ok=ok,
            of=of,
            detail=detail,
        )
