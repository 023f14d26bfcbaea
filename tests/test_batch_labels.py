"""A labelled day in the lake, made on Spark, against the same naive reading."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from playhead.batch.labels import Labels, label_days, labelled_path
from playhead.checks import results
from playhead.cli import app
from playhead.config import Settings
from playhead.days import end_ms_of
from playhead.declarations import load_declarations
from playhead.dimensions import arrow_schema, table_path
from playhead.errors import InputError, UnknownName
from playhead.labels import OUTCOMES, WAIT_MS
from playhead.serving.dimension_table import load_dimension
from playhead.serving.registry import apply
from playhead.serving.served_table import served_schema
from tests.archive import at, write_rows
from tests.lake import write_events
from tests.naive_labels import (
    CONTENT,
    ENDS,
    MINUTE,
    NOON,
    SECOND,
    Row,
    event,
    naive,
    serve,
    waited,
)
from tests.spark import small_queries, spark  # noqa: F401 — the fixtures

DAY = date(2023, 11, 15)
TRACKS = [f"t{n}" for n in range(8)]
SERVICE = "listener_v1"


@dataclass(frozen=True)
class Labelled:
    """A home whose day was labelled, from what, and what the run said."""

    settings: Settings
    served: list[Row]
    events: list[Row]
    done: Labels

    def copy(self, home: Path) -> Settings:
        """Settings of a copy of the home, known to Feast."""
        shutil.copytree(self.settings.home, home, ignore=lambda _, names: {"run", "redis"} & {*names})
        settings = self.settings.model_copy(update={"home": home})
        apply(settings, load_declarations())
        return settings


@pytest.fixture(scope="module")
def labelled(online: Settings, spark: SparkSession) -> Labelled:  # noqa: F811
    declared = load_declarations()
    served, events = made_up_days(random.Random(1))
    write_events(online.lake, events)
    write_served(online.lake, served)
    load_tracks(online, TRACKS, None)
    load_tracks(online, ["new"], at(NOON))
    # Of each track so many plays as its number; and of a moment after every serve, which nobody may see, others.
    of_tracks = [
        {"track_id": track, "event_timestamp_ms": at_ms, "plays_1h": plays}
        for n, track in enumerate(TRACKS)
        for at_ms, plays in ((NOON - 86_400_000, n), (NOON + 43_200_000, 99))
    ]
    write_rows(online.lake, declared.plan("track"), of_tracks)
    apply(online, declared)
    return Labelled(online, served, events, label_days(online, [DAY]))


def load_tracks(settings: Settings, tracks: Sequence[str], valid_from: datetime | None) -> None:
    """Load tracks of which nothing is known but the artist, as of a moment."""
    declared = load_declarations()
    schema = arrow_schema(declared.dimension("track")).remove(1)
    rows = [dict.fromkeys(schema.names) | {"track_id": track, "artist_id": f"of-{track}"} for track in tracks]
    file = settings.home / "tracks.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    load_dimension(settings, declared, "track", [file], valid_from=valid_from)


def made_up_days(rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Requests for two tracks each, from the noon of a day to the morning after, and what two listeners then do."""
    served, events, now = list[Row](), list[Row](), 0
    while now < 13 * 60 * MINUTE:
        # Often, where a play of the day's last serves may be on the next.
        close = abs(now - 12 * 60 * MINUTE) < WAIT_MS
        now += rng.choice([SECOND, MINUTE] if close else [SECOND, 10 * MINUTE, 40 * MINUTE])
        user, tracks = f"u{rng.randrange(2)}", rng.sample(TRACKS[:4], 2)
        place = {"user_id": user, "request_id": f"r{now}"}
        served += [serve(now, track, kafka_offset=now, **place) for track in tracks]
        if rng.random() < 0.2:
            events.append(event(now, "IMPRESSION", tracks[0], **place))
        for track in rng.sample(TRACKS[:6], 2):
            now += rng.choice([0, 1, SECOND, MINUTE])
            heard_ms, kind = rng.choice([3_000, 8_000, 20_000, 60_000]), rng.choice(list(ENDS))
            length = rng.choice([None, 70_000])
            own = {"user_id": user, "content_type": rng.choice(CONTENT), "duration_ms": length}
            events.append(event(now, "PLAY", track, **own))
            if rng.random() < 0.3:
                events.append(event(now + rng.randrange(heard_ms), "PAUSE", track, **own))
            now += heard_ms
            if rng.random() < 0.8:
                events.append(event(now, kind, track, ms_played=heard_ms, **own))
    return served, [each | {"event_id": f"e{n}", "kafka_offset": n} for n, each in enumerate(events)]


def write_served(lake: Path, served: Sequence[Row]) -> None:
    """The served log as it is landed: a request's tracks in one message, one of them twice; and a vector of none."""
    declared = load_declarations()
    schema = served_schema(declared.service(SERVICE), declared)
    rows = []
    for row in [*served, served[0], serve(0, request_id="own") | {"track_id": None}]:
        moment = at(row["serve_time_ms"])
        full = dict.fromkeys(schema.names) | {n: v for n, v in row.items() if n in schema.names}
        rows.append(full | {"serve_time": moment, "dt": f"{moment:%Y-%m-%d}", "track__plays_1h": 5})
    path = lake / "served" / SERVICE
    write_deltalake(path, pa.Table.from_pylist(rows, schema), mode="append", partition_by=["dt"])


def rows_of(settings: Settings) -> list[Row]:
    rows: list[Row] = DeltaTable(labelled_path(settings.lake, SERVICE)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["serve_time"], row["request_id"], row["track_id"], row["outcome"]))


def of_log(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row["easy_negative"]]


def expected_rows(served: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    own = [s for s in served if s["serve_time_ms"] < end_ms_of(DAY)]
    return [naive(each, served, events) for each in own]


def narrow(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in names) for row in rows), key=str)


OWN = ["request_id", "track_id", "kafka_offset", "outcome", "play_time_ms", "ms_played", "content_type", "completion"]
OWN += ["label_30s", "skip_5s", "skip_10s", "hard_negative", "easy_negative", "weight"]


@pytest.mark.spark
def test_a_day_in_the_lake_is_what_the_rules_say(labelled: Labelled) -> None:
    rows, expected = rows_of(labelled.settings), expected_rows(labelled.served, labelled.events)
    assert narrow(of_log(rows), OWN) == narrow(expected, OWN)
    assert {row["outcome"] for row in expected} == set(OUTCOMES) - {"easy_negative"}
    assert any(row["play_time_ms"] and row["play_time_ms"] >= end_ms_of(DAY) for row in expected)
    assert {row["dt"] for row in rows} == {str(DAY)}
    assert {row["track__plays_1h"] for row in of_log(rows)} == {5}
    (made,) = labelled.done.days
    assert {name: count for name, count in made.outcomes.items() if count} == Counter(row["outcome"] for row in rows)
    assert made.labels == {
        "positive": sum(row["label_30s"] is True for row in rows),
        "negative": sum(row["label_30s"] is False for row in rows),
        "neither": sum(row["label_30s"] is None for row in rows),
    }
    assert (made.rows, made.waiting) == (len(rows), 0)
    saved = results.load(labelled.settings, "labels")
    assert saved is not None
    assert saved["days"] == labelled.done.to_json()["days"]


@pytest.mark.spark
def test_easy_negatives_know_what_was_known_at_the_serve(labelled: Labelled) -> None:
    rows = rows_of(labelled.settings)
    easy = [row for row in rows if row["easy_negative"]]
    requests = Counter(row["request_id"] for row in rows if row["label_30s"])
    assert Counter(row["request_id"] for row in easy) == requests
    for row in easy:
        own = next(s for s in labelled.served if s["request_id"] == row["request_id"])
        taken = {s["track_id"] for s in labelled.served if s["request_id"] == row["request_id"]}
        taken |= {e["track_id"] for e in waited(own, labelled.events) if e["event_type"] == "PLAY"}
        assert row["track_id"] in set(TRACKS) - taken
        assert row["weight"] == (len(TRACKS) - len(taken)) / requests[row["request_id"]]
        assert (row["serve_time"], row["user_id"]) == (at(own["serve_time_ms"]), own["user_id"])
        assert (row["track__plays_1h"], row["artist_id"]) == (int(row["track_id"][1:]), f"of-{row['track_id']}")
        assert (row["listener__plays_1h"], row["context__weekday"] is None) == (0, False)
        assert (row["fingerprints"], row["kafka_offset"]) == (None, None)


@pytest.mark.spark
def test_a_day_run_again_is_the_same(labelled: Labelled) -> None:
    before = rows_of(labelled.settings)
    asked = ["batch", "labels", "--date", str(DAY), "--service", SERVICE, "--home", str(labelled.settings.home)]
    as_json = CliRunner().invoke(app, [*asked, "--json"]).stdout
    assert json.loads(as_json[as_json.index("{\n") :])["days"] == labelled.done.to_json()["days"]
    assert rows_of(labelled.settings) == before


@pytest.mark.spark
def test_a_day_run_again_heals_what_came_late(labelled: Labelled, tmp_path: Path) -> None:
    settings, before = labelled.copy(tmp_path / "home"), rows_of(labelled.settings)
    missed = next(row for row in of_log(before) if row["outcome"] == "impression")
    shift_ms = round(missed["serve_time"].timestamp() * 1_000) - NOON
    own = {"user_id": missed["user_id"], "late": True, "kafka_partition": 1}
    late = [
        event(shift_ms, "PLAY", missed["track_id"], kafka_offset=0, **own),
        event(shift_ms + 1, "SKIP", missed["track_id"], kafka_offset=1, ms_played=1, **own),
    ]
    write_events(settings.lake, late, "late")
    label_days(settings, [DAY])
    after = rows_of(settings)
    assert narrow(of_log(after), OWN) == narrow(expected_rows(labelled.served, [*labelled.events, *late]), OWN)
    assert (missed["request_id"], missed["track_id"], True) in narrow(after, ["request_id", "track_id", "skip_5s"])


@pytest.mark.spark
def test_without_a_catalogue_what_was_played_is_drawn(labelled: Labelled, tmp_path: Path) -> None:
    settings = labelled.copy(tmp_path / "home")
    shutil.rmtree(table_path(settings.lake, load_declarations().dimension("track")))
    label_days(settings, [DAY], easy_per_positive=2)
    easy = [row for row in rows_of(settings) if row["easy_negative"]]
    assert easy
    assert {row["track_id"] for row in easy} <= {e["track_id"] for e in labelled.events} < set(TRACKS)


@pytest.mark.spark
def test_what_still_waits_is_left_out_and_counted(
    settings: Settings,
    spark: SparkSession,  # noqa: F811
) -> None:
    apply(settings, load_declarations())
    write_served(settings.lake, [serve(0), serve(1)])
    with pytest.raises(InputError, match="no events in"):
        label_days(settings, [DAY])
    write_events(settings.lake, [event(WAIT_MS - 1, "SEARCH", None)])
    with pytest.raises(InputError, match=r"everything of 2023-11-15 still waits.*of 2023-11-15T12:29:59.999\+00:00"):
        label_days(settings, [DAY])
    write_events(settings.lake, [event(WAIT_MS, "SEARCH", None)], "later")
    shown = CliRunner().invoke(app, ["batch", "labels", "--date", str(DAY), "--home", str(settings.home)]).stdout
    assert "listener_v1, 2023-11-15: 1 rows, 1 vectors wait\n  negative 1\n  impression 1\n" in shown
    assert len(rows_of(settings)) == 1
    with pytest.raises(InputError, match="no vector of a track was served on 2023-11-14"):
        label_days(settings, [DAY - timedelta(days=1)])


def test_what_cannot_be_labelled_is_told_before_spark_starts(settings: Settings) -> None:
    with pytest.raises(InputError, match="no day to label"):
        label_days(settings, [])
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        label_days(settings, [DAY], services=["listener_v2"])
    with pytest.raises(InputError, match="no vector of a track was served on 2023-11-15"):
        label_days(settings, [DAY])
