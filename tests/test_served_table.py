"""What was served, in the lake: each vector once, whatever was brought twice, in parts or by two at a time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from playhead.declarations import load_declarations
from playhead.errors import InputError
from playhead.serving.served_table import ServedTable, served_schema
from schemas.features_pb2 import Candidates, Column, ServedFeatures, StringList, Value

SERVICE = load_declarations().service("listener_v1")
SCHEMA = served_schema(SERVICE, load_declarations())


def table_at(path: Path, *, drop: tuple[str, ...] = (), source: str = "served/id1") -> ServedTable:
    schema = SCHEMA
    for name in drop:
        schema = schema.remove(schema.get_field_index(name))
    table = ServedTable(path / "listener_v1", schema, source)
    table.create()
    return table


def message(user: str = "u1", **values: Value) -> ServedFeatures:
    return ServedFeatures(
        request_id="r1",
        service=SERVICE.name,
        serve_time_ms=1_700_000_123_456,
        entities={"user_id": user, "track_id": "t1"},
        values={f"track__{name}": value for name, value in values.items()},
        event_timestamps_ms={"track": 1_700_000_000_000},
        fingerprints={"track": "00112233445566ff"},
    )


def of_candidates(count: int, **values: Column) -> ServedFeatures:
    own = Candidates(count=count, values=values, entities={"track_id": Column(string_values=["t1", "t2"][:count])})
    own.event_timestamps_ms["artist"].int_values.append(1_700_000_001_000)
    shared = message()
    del shared.entities["track_id"]
    shared.fingerprints["artist"] = "ff" * 8
    shared.candidates.CopyFrom(own)
    return shared


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = DeltaTable(path / "listener_v1").to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["kafka_partition"], row["kafka_offset"]))


def offsets(path: Path) -> list[tuple[int, int]]:
    return [(row["kafka_partition"], row["kafka_offset"]) for row in rows_of(path)]


def append(table: ServedTable, partition: int, *taken: int) -> int:
    return table.append(
        [row for each in taken for row in table.rows(message(), partition, each)], {partition: max(taken) + 1}
    )


def test_a_vector_is_a_row_with_typed_columns(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    vector = message(plays_1h=Value(int_value=5), skips_1h=Value())
    vector.values["listener__last_5_tracks"].CopyFrom(Value(string_list=StringList(values=["t2", "t1"])))
    vector.values["listener__skip_rate_1h"].CopyFrom(Value(double_value=0.25))
    table.append(table.rows(vector, 2, 7), {2: 8})
    (row,) = rows_of(tmp_path)
    assert row["serve_time"] == dt.datetime(2023, 11, 14, 22, 15, 23, 456_000, tzinfo=dt.UTC)
    assert (row["request_id"], row["user_id"], row["track_id"], row["artist_id"]) == ("r1", "u1", "t1", None)
    assert (row["track__plays_1h"], row["track__skips_1h"], row["track__plays_1d"]) == (5, None, None)
    assert (row["listener__last_5_tracks"], row["listener__skip_rate_1h"]) == (["t2", "t1"], 0.25)
    assert (row["track__event_timestamp_ms"], row["artist__event_timestamp_ms"]) == (1_700_000_000_000, None)
    assert row["fingerprints"] == [("track", "00112233445566ff")]
    assert row["fallback"] is None
    assert (row["kafka_partition"], row["kafka_offset"], row["dt"]) == (2, 7, "2023-11-14")


def test_a_message_with_candidates_is_a_row_for_each(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    vectors = of_candidates(
        2,
        track__plays_1h=Column(int_values=[6], places=[1]),
        track_item__genre=Column(string_values=["jazz", "pop"]),
        affinity__gone=Column(int_values=[1, 2]),
        artist__plays_1h=Column(),
    )
    table.append(table.rows(vectors, 2, 7), {2: 8})
    first, second = rows_of(tmp_path)
    assert [row["track_id"] for row in (first, second)] == ["t1", "t2"]
    assert [row["track__plays_1h"] for row in (first, second)] == [None, 6]
    assert [row["track_item__genre"] for row in (first, second)] == ["jazz", "pop"]
    assert [row["artist__event_timestamp_ms"] for row in (first, second)] == [1_700_000_001_000, None]
    assert [dict(row["fingerprints"]).keys() for row in (first, second)] == [{"track", "artist"}, {"track"}]
    assert offsets(tmp_path) == [(2, 7), (2, 7)]
    assert dict(table.undeclared) == {"affinity__gone": 2}
    assert table.append(table.rows(vectors, 2, 7), {2: 8}) == 0, "brought again"


def test_a_row_says_why_it_holds_defaults(tmp_path: Path) -> None:
    table = table_at(tmp_path, drop=("fallback",))
    append(table, 0, 0)
    table = table_at(tmp_path)
    vector = message()
    vector.fallback = "budget"
    table.append(table.rows(vector, 0, 1), {0: 2})
    assert [row["fallback"] for row in rows_of(tmp_path)] == [None, "budget"], "a table of before gets the column"


def test_what_is_brought_again_is_passed_over(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    assert append(table, 0, 0, 1) == 2
    assert append(table, 0, 0, 1) == 0
    assert append(table, 0, 1, 2) == 1
    assert append(table_at(tmp_path), 1, 0) == 1
    assert offsets(tmp_path) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert table.following() == {0: 3, 1: 1}


def test_two_who_read_the_same_land_it_once(tmp_path: Path) -> None:
    one, other = table_at(tmp_path), table_at(tmp_path)
    rows = [row for offset in range(3) for row in one.rows(message(), 0, offset)]
    assert one.append(rows, {0: 3}) + other.append(rows, {0: 3}) == 3
    assert len(rows_of(tmp_path)) == 3


def test_how_far_it_was_read_is_kept_without_rows(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    assert table.append([], {0: 10}) == 0
    assert table.following() == {0: 10}
    assert rows_of(tmp_path) == []


def test_offsets_of_a_topic_made_anew_are_not_those_of_the_old_one(tmp_path: Path) -> None:
    append(table_at(tmp_path), 0, 0, 1)
    again = table_at(tmp_path, source="served/id2")
    assert again.following() == {}
    assert append(again, 0, 0) == 1


def test_a_new_feature_becomes_a_column_and_an_old_one_is_counted(tmp_path: Path) -> None:
    earlier = table_at(tmp_path, drop=("track__plays_1h",))
    earlier.append(earlier.rows(message(plays_1h=Value(int_value=5)), 0, 0), {0: 1})
    assert dict(earlier.undeclared) == {"track__plays_1h": 1}
    now = table_at(tmp_path)
    now.append(now.rows(message(plays_1h=Value(int_value=6)), 0, 1), {0: 2})
    assert [row["track__plays_1h"] for row in rows_of(tmp_path)] == [None, 6]


@pytest.mark.parametrize(
    "vector",
    [
        ServedFeatures(),
        ServedFeatures(request_id="r1"),
        ServedFeatures(request_id="r1", entities={"user_id": "u"}, serve_time_ms=2**62),
        message(plays_1h=Value(string_value="5")),
        message(plays_1h=Value(double_value=5.0)),
        of_candidates(2, track__plays_1h=Column(double_values=[5.0, 6.0])),
        of_candidates(2, track__plays_1h=Column(int_values=[5, 6, 7])),
        of_candidates(2, track__plays_1h=Column(int_values=[5], places=[2])),
        of_candidates(2, track__plays_1h=Column(int_values=[5], places=[0, 1])),
        of_candidates(-1),
        of_candidates(2**31 - 1),
    ],
)
def test_a_vector_that_fits_no_row_is_refused(tmp_path: Path, vector: ServedFeatures) -> None:
    with pytest.raises(InputError):
        table_at(tmp_path).rows(vector, 0, 0)
