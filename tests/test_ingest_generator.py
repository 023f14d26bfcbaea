"""The generator: known amounts of trouble, a truth that holds, and no event behind the watermark."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from playhead.errors import ConfigError, UnknownName
from playhead.ingest.catalogue import CONTENT_WEIGHTS, SECONDS, make_catalogue
from playhead.ingest.faults import FAULTS
from playhead.ingest.generator import GeneratorConfig, Sent, generate
from playhead.ingest.listening import DAY_MS, HOUR_MS
from playhead.ingest.planted import DEFECTS
from playhead.ingest.truth import generated_source
from schemas.decode import decode, encode
from schemas.tables import event_columns

TROUBLE: dict[str, float] = {"duplicates": 0.02, "late": 0.01, "out_of_order": 0.01, "malformed": 0.005}
SKEW_MS = 300_000
PARTITIONS = 4


def small(**values: Any) -> GeneratorConfig:
    return GeneratorConfig(**{"users": 60, "tracks": 200, "days": 1, **values})


@pytest.fixture(scope="module")
def troubled() -> list[Sent]:
    return list(generate(small(**TROUBLE)))


def decoded(sent: Sent, config: GeneratorConfig) -> Any:
    return decode(sent.record.value, latest_ms=config.end_ms + SKEW_MS, max_bytes=config.max_message_bytes)


def test_the_same_seed_makes_the_same_records(troubled: list[Sent]) -> None:
    assert list(generate(small(**TROUBLE))) == troubled
    assert list(generate(small(**TROUBLE, seed=2))) != troubled


def test_every_record_decodes_to_what_the_truth_says(troubled: list[Sent]) -> None:
    config = small(**TROUBLE)
    for sent in troubled:
        if sent.event is not None:
            assert decoded(sent, config) == tuple(sent.event.get(name) for name in event_columns())
        elif sent.fault != "duplicate":
            assert decoded(sent, config) == sent.fault


def test_each_kind_of_fault_gets_the_reason_it_promises() -> None:
    config = small()
    event = next(sent.event for sent in generate(config) if sent.event and sent.event["event_type"] == "PLAY")
    rng = random.Random(1)
    for make in FAULTS:
        for _ in range(200):
            fault = make(event, rng, config.max_message_bytes)
            refused = decode(fault.payload, latest_ms=config.end_ms + SKEW_MS, max_bytes=config.max_message_bytes)
            assert refused == fault.reason


def test_a_duplicate_is_the_same_record_again_later(troubled: list[Sent]) -> None:
    seen = set()
    for sent in troubled:
        if sent.fault == "duplicate":
            assert sent.record in seen
        seen.add(sent.record)


def test_shares_are_met(troubled: list[Sent]) -> None:
    faults = Counter(sent.fault for sent in troubled)
    events, duplicates = faults.pop(None), faults.pop("duplicate")
    assert duplicates == pytest.approx(0.02 * events, abs=1)
    assert faults.total() == pytest.approx(0.005 * events, abs=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_event_is_ever_behind_the_watermark_of_its_partition(seed: int) -> None:
    config = small(seed=seed, late=0.05, out_of_order=0.05, duplicates=0.05, malformed=0.05)
    newest_ms = [0] * PARTITIONS
    overtaken = 0
    for sent in generate(config):
        time_ms = sent.record.time_ms
        if time_ms > config.end_ms + SKEW_MS:
            continue
        partition = crc32(sent.record.key or b"") % PARTITIONS
        assert time_ms > newest_ms[partition] - config.allowed_lateness_ms
        overtaken += time_ms < newest_ms[partition]
        newest_ms[partition] = max(time_ms, newest_ms[partition])
    assert overtaken > 0


def test_nothing_arrives_late_when_nothing_is_asked_for() -> None:
    sent = list(generate(small()))
    assert {each.fault for each in sent} == {None}
    times = [each.record.time_ms for each in sent]
    assert times == sorted(times)


def test_events_lie_within_the_days_and_have_ids_of_their_own() -> None:
    config = small(days=2)
    events = [sent.event for sent in generate(config) if sent.event]
    assert all(config.start_ms <= int(event["event_time_ms"] or 0) < config.end_ms for event in events)
    assert len({event["event_id"] for event in events}) == len(events)


def test_a_play_stands_before_its_end_and_an_end_before_the_next_play() -> None:
    open_plays: dict[Any, Any] = {}
    ties = 0
    for sent in generate(small()):
        event = sent.event or {}
        user = event["user_id"]
        if event["event_type"] == "PLAY":
            open_plays[user] = event
        elif event["event_type"] in ("SKIP", "COMPLETE", "STOP"):
            play = open_plays.pop(user)
            assert play["track_id"] == event["track_id"]
            ties += play["event_time_ms"] == event["event_time_ms"]
    assert ties == 0


def test_listeners_do_all_that_there_is() -> None:
    events = [sent.event for sent in generate(small(users=150)) if sent.event]
    assert len({event["event_type"] for event in events}) == 10
    assert {event["content_type"] for event in events} == set(SECONDS)
    plays = Counter(event["track_id"] for event in events if event["event_type"] == "PLAY")
    assert plays.most_common(1)[0][1] > 10 * plays.total() / 200
    early = [e for e in events if e["event_type"] == "SKIP" and int(e["ms_played"] or 0) < 5_000]
    assert early


def test_days_have_a_rhythm() -> None:
    hours = Counter(
        int(sent.event["event_time_ms"] or 0) // 3_600_000 % 24
        for sent in generate(small(users=150))
        if sent.event and sent.event["country"] == "GB"
    )
    assert sum(hours[hour] for hour in range(17, 22)) > 2 * sum(hours[hour] for hour in range(1, 6))


def test_the_truth_is_written_beside(tmp_path: Path) -> None:
    config = small(**TROUBLE)
    with generated_source(config, truth=tmp_path / "truth", catalogue=tmp_path / "tracks.parquet") as (source, truth):
        records = list(source.records)
    rows = pq.read_table(tmp_path / "truth" / "events.parquet").to_pylist()
    summary = json.loads((tmp_path / "truth" / "summary.json").read_text())
    assert summary == truth.to_json()
    assert list(rows[0]) == list(event_columns())
    assert len(rows) == len({row["event_id"] for row in rows}) == summary["events"]
    assert {encode(row) for row in rows} <= {record.value for record in records}
    assert len(records) == summary["events"] + summary["duplicates"] + sum(summary["dead_letters"].values())
    assert summary["late"] == pytest.approx(0.01 * summary["events"], rel=0.2)
    assert summary["out_of_order"] > 0
    assert summary["clock_ms"] == source.clock_ms == config.end_ms


def test_the_catalogue_knows_every_played_track(tmp_path: Path) -> None:
    config = small()
    with generated_source(config, catalogue=tmp_path / "tracks.parquet"):
        pass
    tracks = {row["track_id"]: row for row in pq.read_table(tmp_path / "tracks.parquet").to_pylist()}
    assert len(tracks) == config.tracks
    for sent in generate(config):
        if sent.event and sent.event.get("track_id"):
            track = tracks[sent.event["track_id"]]
            assert (track["artist_id"], track["duration_ms"]) == (sent.event["artist_id"], sent.event["duration_ms"])


def test_a_catalogue_of_one_track_serves_every_genre() -> None:
    catalogue = make_catalogue(1, seed=1)
    assert {catalogue.pick(random.Random(i), genre).track_id for i, genre in enumerate(["", "jazz", "pop"])} == {
        "track-00001"
    }
    assert len(CONTENT_WEIGHTS) == len(SECONDS)


@pytest.mark.parametrize(
    "values", [{"users": 0}, {"days": 0}, {"late": 0.6}, {"malformed": -0.1}, {"start": date(1999, 1, 1)}]
)
def test_a_configuration_out_of_range_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        GeneratorConfig(**values)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_meets_its_hours_of_the_last_day_only(name: str) -> None:
    config = small(days=2)
    right, wrong = ([*generate(each)] for each in (config, replace(config, planted=(name,))))
    first, end = (config.start_ms + DAY_MS + hour * HOUR_MS for hour in DEFECTS[name].hours)

    def outside(sent: list[Sent]) -> list[Sent]:
        return [each for each in sent if not first <= each.record.time_ms < end]

    def inside(sent: list[Sent]) -> list[Sent]:
        return [each for each in sent if first <= each.record.time_ms < end]

    assert outside(wrong) == outside(right)
    assert inside(wrong) != inside(right)
    for each in inside(wrong):
        found = decoded(each, config)
        assert (found == each.fault) if each.event is None else (found[0] == each.event["event_id"])


def test_no_two_defects_are_at_the_same_time() -> None:
    hours = sorted(defect.hours for defect in DEFECTS.values())
    assert all(end <= first for (_, end), (first, _) in pairwise(hours))


def test_a_defect_that_there_is_not_is_refused() -> None:
    with pytest.raises(UnknownName, match="null-burst"):
        small(planted=("null-brust",))
