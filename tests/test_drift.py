"""The drift check finds what has moved, on its day, and nothing else."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from playhead.checks import results
from playhead.checks.drift import Drift, check_drift, measured_of
from playhead.checks.readings import standings
from playhead.cli import app
from playhead.config import Settings
from playhead.days import DAY
from playhead.declarations import load_declarations
from playhead.errors import InputError, UnknownName
from playhead.labels import LABELS
from playhead.objectives import DriftSettings
from playhead.serving.scores import SCORES, land_scores
from playhead.serving.served_table import served_schema
from tests.conftest import settings_on_free_ports

SERVICE = "listener_v1"
FIRST = date(2025, 3, 1)
KNOWN = 8
"""Days that are the reference."""

CLEAN, SHIFTED, NULLS, GENRE, QUIET = (FIRST + (KNOWN + n) * DAY for n in range(5))
PERIOD = (FIRST, CLEAN - DAY)
NOW = datetime(2025, 4, 1, tzinfo=UTC)
CHECKED = itertools.count()

Change = Callable[[dict[str, Any]], dict[str, Any]]

DRIFTS: Mapping[date, Change] = {
    SHIFTED: lambda row: {"listener__plays_1h": row["listener__plays_1h"] + 6},
    NULLS: lambda row: {"listener__valence_last_20": None} if row["user_id"] < "u1" else {},
    GENRE: lambda row: {"track_item__genre": "polka"} if row["track_id"] > "t5" else {},
}


def served(day: date, rng: random.Random, users: int = 130) -> list[dict[str, Any]]:
    """A day of a few listeners, whose requests have few candidates or many; tracks are the same every day."""
    schema = served_schema(load_declarations().service(SERVICE), load_declarations())
    rows, tracks = list[dict[str, Any]](), catalogue()
    for n in range(users):
        user = {"user_id": f"u{n:03}", **value_of(schema, "listener", rng), **value_of(schema, "session", rng)}
        for track in rng.sample(sorted(tracks), k=min(5, int(rng.paretovariate(1)))):
            own = {"request_id": f"{day}-{n}", "track_id": track, "artist_id": track, "dt": day.isoformat()}
            own["serve_time"] = datetime.combine(day, time(12), UTC)
            rows.append(
                dict.fromkeys(schema.names)
                | user
                | tracks[track]
                | value_of(schema, "a", rng)
                | value_of(schema, "item", rng)
                | own
            )
    return [row | DRIFTS.get(day, lambda _: {})(row) for row in rows]


@functools.cache
def catalogue() -> dict[str, dict[str, Any]]:
    schema, rng = served_schema(load_declarations().service(SERVICE), load_declarations()), random.Random(1)
    return {f"t{n:03}": value_of(schema, "track", rng) for n in range(1_000)}


def value_of(schema: pa.Schema, of: str, rng: random.Random) -> dict[str, Any]:
    """Values for the features of views whose names begin so."""
    kinds: dict[Any, Callable[[], Any]] = {
        pa.int64(): lambda: min(99, int(rng.expovariate(0.3))),
        pa.float64(): lambda: None if rng.random() < 0.1 else rng.betavariate(2, 3),
        pa.string(): lambda: rng.choice(["jazz", "pop", "rock", "folk"]),
        pa.list_(pa.string()): lambda: [f"x{rng.randrange(30)}" for _ in range(rng.randrange(6))],
    }
    return {f.name: kinds[f.type]() for f in schema if f.name.startswith(of) and "__" in f.name}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a served log of a week and some days on which something moved."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("drift") / "home")
    declared, rng = load_declarations(), random.Random(11)
    schema = served_schema(declared.service(SERVICE), declared)
    days = [FIRST + n * DAY for n in range(KNOWN + 5)]
    rows = [row for day in days for row in served(day, rng, users=50 if day == QUIET else 130)]
    path = settings.lake / "served" / SERVICE
    write_deltalake(path, pa.Table.from_pylist(rows, schema), partition_by=["dt"])
    return settings


def check(settings: Settings, *days: date, **given: Any) -> Drift:
    # Each check is later than the one before: of two of the same moment none is the last.
    now = NOW + timedelta(minutes=next(CHECKED))
    return check_drift(settings, load_declarations(), [SERVICE], days=days, now=now, **given)


def failed(drift: Drift) -> list[tuple[date, str, str]]:
    return [(each.day, each.subject, one.measure) for each in drift.compared for one in each.failed]


def test_each_drift_is_found_on_its_day_in_its_feature_and_no_other(lake: Settings) -> None:
    drift = check(lake, CLEAN, SHIFTED, NULLS, GENRE, QUIET, reference=PERIOD)
    assert {(day, subject) for day, subject, _ in failed(drift)} == {
        (SHIFTED, "listener__plays_1h"),
        (NULLS, "listener__valence_last_20"),
        (GENRE, "track_item__genre"),
        (QUIET, SERVICE),
    }
    measures = {subject: measure for _, subject, measure in failed(drift)}
    assert measures == {
        "listener__plays_1h": "psi",
        "listener__valence_last_20": "null_shift",
        "track_item__genre": "psi",
        SERVICE: "volume",
    }
    (genre,) = [text for text in drift.failures() if "genre" in text]
    assert "others: " in genre and ", in the reference 0.0%" in genre
    assert {each.subject for each in drift.compared if each.day == CLEAN} == {
        SERVICE,
        *(each.subject for each in measured_of(load_declarations().service(SERVICE))),
    }
    assert not [each for each in drift.compared if each.unjudged and each.day not in (NULLS, QUIET)]


def test_what_the_clock_moves_is_not_measured() -> None:
    measured = {each.subject for each in measured_of(load_declarations().service(SERVICE))}
    assert not {"context__weekday", "context__hour_sin", "session__session_start"} & measured
    assert {"session__session_plays", "affinity__genre_affinity", "listener__last_5_tracks"} <= measured


def test_the_days_before_are_the_reference_and_with_few_nothing_is_judged(lake: Settings) -> None:
    assert failed(check(lake, *(FIRST + n * DAY for n in range(1, KNOWN)))) == []
    first = check(lake, FIRST)
    assert {each.unjudged for each in first.compared} == {
        "no reference",
        "the reference has 0 days with rows, 7 are needed",
    }
    strict = lake.model_copy(
        update={"checks": lake.checks.model_copy(update={"drift": DriftSettings(min_samples=1_000_000)})}
    )
    few = check(strict, SHIFTED)
    assert failed(few) == []
    assert all("1000000 are needed" in each.unjudged for each in few.compared if each.subject != SERVICE)


def test_a_day_without_rows_has_no_volume(lake: Settings) -> None:
    empty = QUIET + DAY
    assert failed(check(lake, empty)) == [(empty, SERVICE, "volume")]


def test_a_training_set_is_a_reference(lake: Settings, tmp_path: Path) -> None:
    rows = DeltaTable(lake.lake / "served" / SERVICE).to_pyarrow_table(
        partitions=[("dt", "in", [f"{FIRST + n * DAY}" for n in range(KNOWN)])]
    )
    pq.write_table(rows.drop_columns(["dt", "listener__likes_1d"]), tmp_path / "set.parquet")
    drift = check(lake, SHIFTED, reference=tmp_path / "set.parquet")
    assert failed(drift) == [(SHIFTED, "listener__plays_1h", "psi")]
    assert [each.subject for each in drift.compared if each.unjudged] == ["listener__likes_1d"]
    with pytest.raises(InputError, match=r"absent\.parquet: cannot be read as Parquet"):
        check(lake, SHIFTED, reference=tmp_path / "absent.parquet")
    pq.write_table(rows.drop_columns(["user_id"]), tmp_path / "nobody.parquet")
    with pytest.raises(InputError, match="no column user_id"):
        check(lake, SHIFTED, reference=tmp_path / "nobody.parquet")


def test_a_feature_has_limits_of_its_own(lake: Settings) -> None:
    own = DriftSettings(of={"listener__plays_1h": {"psi": 100}})
    lenient = lake.model_copy(update={"checks": lake.checks.model_copy(update={"drift": own})})
    assert failed(check(lenient, SHIFTED, reference=PERIOD)) == []
    strict = DriftSettings(max_psi=None, max_js=0.01, max_kl=0.05)
    found = failed(check(lake.model_copy(update={"checks": lake.checks.model_copy(update={"drift": strict})}), SHIFTED))
    assert found == [(SHIFTED, "listener__plays_1h", measure) for measure in ("kl", "js")]


def test_what_was_measured_is_kept(lake: Settings) -> None:
    drift = check(lake, CLEAN, SHIFTED, reference=PERIOD)
    standing = {each.reading.about: each for each in standings(lake, ["drift"]) if each.reading.of is not None}
    psi = standing["drift", "listener__plays_1h", "psi"]
    (value,) = [
        one.value
        for each in drift.compared
        for one in each.failed
        if (each.day, one.measure) == (SHIFTED, "psi") and each.subject == "listener__plays_1h"
    ]
    assert value in psi.before
    saved = results.load(lake, "drift")
    assert saved is not None
    assert (saved["days"], saved["failed"]) == ([str(CLEAN), str(SHIFTED)], 1)
    assert len(saved["compared"]) == len(drift.compared)


def labelled(day: date, rate: float, rng: random.Random) -> list[dict[str, Any]]:
    rows = [
        {"user_id": f"u{n}", "dt": str(day), "easy_negative": False}
        | {label: None if rng.random() < 0.2 else rng.random() < rate for label in LABELS}
        for n in range(600)
    ]
    # As many as there are positives: they say nothing of the rate.
    easy = {"user_id": "u1", "dt": str(day), "easy_negative": True, "label_30s": False}
    return rows + [dict.fromkeys(LABELS) | easy] * sum(bool(row["label_30s"]) for row in rows)


def test_a_label_rate_that_moves_is_found(lake: Settings) -> None:
    rng, path = random.Random(2), lake.lake / "labelled" / SERVICE
    for day in [*(FIRST + n * DAY for n in range(KNOWN)), CLEAN, SHIFTED]:
        rows = labelled(day, 0.3, rng)
        if day == SHIFTED:
            rows = [
                row | {"skip_10s": row["skip_10s"] and rng.random() < 0.5} if not row["easy_negative"] else row
                for row in rows
            ]
        write_deltalake(path, pa.Table.from_pylist(rows), mode="append", partition_by=["dt"])
    drift = check(lake, CLEAN, SHIFTED, reference=PERIOD)
    assert [each for each in failed(drift) if each[1] in LABELS] == [(SHIFTED, "skip_10s", "label_rate")]
    (rate,) = [
        one for each in drift.compared if each.subject == "skip_10s" and each.day == CLEAN for one in each.measured
    ]
    assert abs(rate.value) < 0.05 and "in the reference 3" in rate.detail


def test_scores_that_move_are_found_by_model(lake: Settings) -> None:
    rng = random.Random(4)
    for day in [FIRST + n * DAY for n in range(KNOWN + 2)]:
        rows = [
            {"request_id": f"{day}-{n}", "user_id": f"u{n}", "model": model, "dt": str(day)}
            | {"at": datetime.combine(day, time(12), UTC)}
            | {"score": rng.betavariate(2, 5 if (day, model) != (SHIFTED, "b") else 2)}
            for n in range(300)
            for model in "ab"
        ]
        land_scores(lake, load_declarations(), SERVICE, pa.Table.from_pylist(rows, SCORES))
    drift = check(lake, CLEAN, SHIFTED, reference=PERIOD)
    assert [each for each in failed(drift) if "/" in each[1]] == [(SHIFTED, f"{SERVICE}/b", "score_psi")]
    (a,) = [each for each in drift.compared if each.subject == f"{SERVICE}/a" and each.day == SHIFTED]
    assert [one.measure for one in a.measured] == ["score_psi", "score_kl", "score_js"]


def test_the_command_exits_1_when_something_moved(lake: Settings) -> None:
    def run(*arguments: object) -> Any:
        command = ["check", "drift", "--service", SERVICE, "--home", str(lake.home), *map(str, arguments)]
        return CliRunner().invoke(app, command)

    period = f"{PERIOD[0]}..{PERIOD[1]}"
    moved = run("--date", NULLS, "--reference", period)
    assert moved.exit_code == 1
    assert "listener__valence_last_20 of 2025-03-11: null_shift" in moved.stderr
    clean = run("--date", FIRST + 5 * DAY, "--json")
    assert clean.exit_code == 0
    assert json.loads(clean.stdout[clean.stdout.index("{\n") :])["failed"] == 0
    assert run("--reference", period, "--reference-days", 3).exit_code == 2
    assert run("--reference", "2025-03-09..2025-03-01").exit_code == 2


def test_a_log_that_is_not_there_is_told(settings: Settings, lake: Settings) -> None:
    with pytest.raises(InputError, match="no served vectors"):
        check(settings)
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        check_drift(settings, load_declarations(), ["listener_v2"])
    with pytest.raises(InputError, match="no day is over, the first is 2025-03-01"):
        check_drift(lake, load_declarations(), [SERVICE], now=datetime(2025, 3, 1, 9, tzinfo=UTC))
    newest = check_drift(lake, load_declarations(), [SERVICE], now=datetime(2025, 3, 5, 9, tzinfo=UTC))
    assert newest.days == [date(2025, 3, 4)]
