"""The offline store against Feast's own DuckDB store and a naive reading, on many moments at once and at every edge."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Int64
from feast.types import String as FeastString
from feast.value_type import ValueType

from playhead.errors import InputError
from playhead.serving.asof import as_of, coded
from playhead.serving.lake_rows import Feature, ViewRows, open_duckdb

START = datetime(2024, 2, 28, 23, 59, 57, tzinfo=UTC)
US = timedelta(microseconds=1)
TTL = timedelta(seconds=2)
STAMP = pa.timestamp("us", "UTC")
OURS, FEASTS = "playhead.serving.feast_offline.PlayheadOfflineStore", "duckdb"
Row = dict[str, Any]


def rows_of(seed: int, number: int = 400) -> list[Row]:
    """Rows of pairs of keys that read alike side by side, with ties, nulls and microseconds."""
    rng = random.Random(seed)
    made = []
    for place in range(number):
        stamp = START + rng.randrange(8) * timedelta(seconds=1) + rng.choice([-1, 0, 1]) * US
        made.append(
            {
                "one": rng.choice([1, 11, 111]),
                "two": rng.choice([1, 11, 111]),
                "event_timestamp": None if rng.random() < 0.05 else stamp,
                "created_at": START + place * US,
                "n": None if rng.random() < 0.3 else place,
            }
        )
    rng.shuffle(made)
    return made


def spine_of(seed: int, rows: list[Row], number: int = 500) -> list[Row]:
    """Moments at rows, at the edge of their time to live and a microsecond beside both; some rows twice."""
    rng = random.Random(seed)
    stamped = [row for row in rows if row["event_timestamp"] is not None]
    made = []
    for _ in range(number):
        near = rng.choice(stamped)
        moment = near["event_timestamp"] + rng.choice([timedelta(0), TTL, 2 * TTL]) + rng.choice([-1, 0, 1]) * US
        one, two = (near["one"], near["two"]) if rng.random() < 0.8 else (rng.choice([1, 5]), rng.choice([11, 5]))
        made.append({"one": one, "two": two, "event_timestamp": moment})
    made += rng.sample(made, number // 10)
    return [row | {"place": place} for place, row in enumerate(made)]


def naive(rows: list[Row], point: Row, ttl: timedelta | None) -> int | None:
    moment, known = point["event_timestamp"], point.get("known_at")
    if moment is None:
        return None
    seen = [
        row
        for row in rows
        if (row["one"], row["two"]) == (point["one"], point["two"])
        and row["event_timestamp"] is not None
        and row["event_timestamp"] <= moment
        and (known is None or row["created_at"] is None or row["created_at"] <= known)
    ]
    first = datetime.min.replace(tzinfo=UTC)
    last = max(seen, key=lambda row: (row["event_timestamp"], row["created_at"] or first), default=None)
    if last is None or (ttl is not None and last["event_timestamp"] < moment - ttl):
        return None
    value: int | None = last["n"]
    return value


def write(rows: list[Row], path: Path, key: pa.DataType) -> Path:
    kinds = {"one": key, "two": key, "event_timestamp": STAMP, "created_at": STAMP, "n": pa.int64()}
    columns = {name: keyed([row[name] for row in rows], kind) for name, kind in kinds.items()}
    pq.write_table(pa.table(columns), path)
    return path


def keyed(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of a type; numbers as text where it is one."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = pa.types.is_string(plain)
    array = pa.array([str(v) if texts and v is not None else v for v in values], plain)
    return array.dictionary_encode() if pa.types.is_dictionary(kind) else array


def view(path: Path, **changes: Any) -> ViewRows:
    features = (Feature("n", "v__n", pa.int64()),)
    whole: dict[str, Any] = {"format": "parquet", "features": features, "created": "created_at"} | changes
    return ViewRows(name="v", path=path, keys=(("one", "one"), ("two", "two")), **whole)


def spine_table(spine: list[Row], key: pa.DataType) -> pa.Table:
    kinds = {"one": key, "two": key, "event_timestamp": STAMP, "known_at": STAMP}
    names = [name for name in kinds if name in spine[0]]
    return pa.table({name: keyed([row[name] for row in spine], kinds[name]) for name in names})


TEXT, NUMBER = pa.string(), pa.int64()
CODED = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize("ttl", [None, TTL])
@pytest.mark.parametrize(("stored", "asked"), [(NUMBER, NUMBER), (TEXT, NUMBER), (TEXT, CODED), (CODED, TEXT)])
def test_the_join_equals_the_naive_one(tmp_path: Path, stored: Any, asked: Any, ttl: timedelta | None) -> None:
    rows = rows_of(1)
    spine = spine_of(2, rows)
    spine += [spine[0] | {"one": None}, spine[0] | {"event_timestamp": None}, spine[0] | {"two": None}]
    found = as_of(spine_table(spine, asked), "event_timestamp", [view(write(rows, tmp_path / "rows", stored), ttl=ttl)])
    expected = [naive(rows, point, ttl) for point in spine]
    assert found["v__n"].to_pylist() == expected
    assert 100 < sum(value is not None for value in expected) < len(expected) - 100


def store(folder: Path, kind: str, ttl: timedelta | None, key: Any) -> FeatureStore:
    value_type = ValueType.INT64 if key is NUMBER else ValueType.STRING
    entities = [Entity(name=name, join_keys=[name], value_type=value_type) for name in ("one", "two")]
    source = FileSource(
        name="rows",
        path=str(folder / "rows.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_at",
    )
    fields = [Field(name=name, dtype=Int64 if key is NUMBER else FeastString) for name in ("one", "two")]
    rows = FeatureView(
        name="v",
        entities=entities,
        schema=[*fields, Field(name="n", dtype=Int64)],
        source=source,
        ttl=ttl or timedelta(0),
    )
    opened = FeatureStore(
        config=RepoConfig(
            project="p",
            provider="local",
            registry=str(folder / f"{kind}.db"),
            offline_store={"type": kind},
            repo_path=folder,
            entity_key_serialization_version=3,
        )
    )
    opened.apply([*entities, rows])
    return opened


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", None])
@pytest.mark.parametrize(("key", "ttl"), [(TEXT, TTL), (NUMBER, None)])
def test_the_store_equals_feasts_own_on_duckdb(
    tmp_path: Path, key: Any, ttl: timedelta | None, zone: str | None
) -> None:
    rows = rows_of(3)
    spine = spine_of(4, rows)
    write(rows, tmp_path / "rows.parquet", key)
    frame = pd.DataFrame(spine).astype({"one": str, "two": str} if key is TEXT else {})
    frame["event_timestamp"] = frame["event_timestamp"].dt.as_unit("us").dt.tz_convert(zone)
    made = {}
    for kind in (OURS, FEASTS):
        opened = store(tmp_path, kind, ttl, key)
        table = opened.get_historical_features(frame, features=["v:n"]).to_arrow().sort_by("place")
        made[kind] = table["n"].cast(pa.int64()).to_pylist()
    assert made[OURS] == made[FEASTS] == [naive(rows, point, ttl) for point in spine]


def test_what_was_written_after_known_at_does_not_count(tmp_path: Path) -> None:
    rows = [row | {"created_at": None if row["n"] == 7 else row["created_at"]} for row in rows_of(5)]
    rng = random.Random(6)
    spine = [
        row | {"known_at": rng.choice([None, START, START + rng.randrange(400) * US])} for row in spine_of(6, rows)
    ]
    path = write(rows, tmp_path / "rows", TEXT)
    table = spine_table(spine, TEXT)
    found = as_of(table, "event_timestamp", [view(path, ttl=TTL)], known="known_at")
    assert found["v__n"].to_pylist() == [naive(rows, point, TTL) for point in spine]
    assert found["v__n"].to_pylist() != as_of(table, "event_timestamp", [view(path, ttl=TTL)])["v__n"].to_pylist()
    with pytest.raises(InputError, match="do not say when they were written"):
        as_of(table, "event_timestamp", [view(path, created=None)], known="known_at")


def test_a_row_that_does_not_say_when_it_was_written_loses(tmp_path: Path) -> None:
    row = {"one": 1, "two": 1, "event_timestamp": START, "created_at": START, "n": 1}
    path = write([row | {"n": 2, "created_at": None}, row, row | {"n": 3, "created_at": None}], tmp_path / "r", TEXT)
    found = as_of(spine_table([row], TEXT), "event_timestamp", [view(path)])
    assert found["v__n"].to_pylist() == [1]


def test_no_spine_and_no_rows(tmp_path: Path) -> None:
    rows = rows_of(7)
    table = spine_table(spine_of(7, rows), TEXT)
    full, empty = write(rows, tmp_path / "rows", TEXT), write([], tmp_path / "empty", TEXT)
    assert as_of(table.slice(0, 0), "event_timestamp", [view(full, ttl=TTL)]).num_rows == 0
    assert as_of(table, "event_timestamp", [view(empty)])["v__n"].null_count == table.num_rows


def test_days_after_the_last_moment_are_not_opened(tmp_path: Path) -> None:
    row = {"one": 1, "two": 1, "event_timestamp": START, "created_at": START, "n": 1}
    for day in ("2024-02-28", "2024-02-29", "2024-03-01"):
        (tmp_path / f"dt={day}").mkdir()
    write([row], tmp_path / "dt=2024-02-28" / "part-0", TEXT)
    (tmp_path / "dt=2024-03-01" / "part-0").write_bytes(b"no parquet")
    spine = spine_table([row | {"event_timestamp": START + timedelta(hours=24)}], TEXT)
    assert as_of(spine, "event_timestamp", [view(tmp_path, by_day=True)])["v__n"].to_pylist() == [1]
    with pytest.raises(InputError, match="cannot read"):
        as_of(spine, "event_timestamp", [view(tmp_path)])


@pytest.mark.parametrize("timestamp", ["event_timestamp", "dt"])
def test_files_of_a_delta_table_after_the_last_moment_are_not_opened(tmp_path: Path, timestamp: str) -> None:
    days = [START + n * timedelta(days=1) for n in range(6)]
    rows = [{"one": "1", "two": "1", "event_timestamp": day, "n": n, "dt": f"{day:%F}"} for n, day in enumerate(days)]
    write_deltalake(tmp_path, pa.Table.from_pylist(rows), partition_by=["dt"])
    for file in (tmp_path / f"dt={days[-1]:%F}").iterdir():
        file.unlink()
    spine = spine_table([{"one": 1, "two": 1, "event_timestamp": days[1]}], TEXT)
    delta = view(tmp_path, format="delta", timestamp=timestamp, created=None)
    assert as_of(spine, "event_timestamp", [delta])["v__n"].to_pylist() == [1]


@contextlib.contextmanager
def duckdb_without_a_folder(memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_duckdb(memory_mb) as connection:
        connection.sql("SET temp_directory = ''")
        yield connection


def test_what_does_not_fit_in_memory_spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number, memory_mb = 200_000, 64
    texts = pc.binary_join_element_wise(pa.array(range(number)).cast(TEXT), pa.scalar("x" * 200), "-")
    at = pa.array(range(number), pa.int64()).cast(STAMP)
    users = pa.array([f"user-{place % 1_000}" for place in range(number)])
    columns = {"one": users, "two": users, "event_timestamp": at, "created_at": at, "n": texts}
    pq.write_table(pa.table(columns), tmp_path / "rows", row_group_size=20_000)
    spine = pa.table(columns).slice(number - 1_000).select(["one", "two", "event_timestamp"])
    large = view(tmp_path / "rows", features=(Feature("n", "text", TEXT),))
    found = as_of(spine, "event_timestamp", [large], memory_mb=memory_mb)
    assert found["text"].to_pylist() == texts.to_pylist()[-1_000:]
    monkeypatch.setattr("playhead.serving.asof.open_duckdb", duckdb_without_a_folder)
    with pytest.raises(InputError, match=r"Out of Memory.* raise offline.memory_mb"):
        as_of(spine, "event_timestamp", [large], memory_mb=memory_mb)


def test_a_spine_that_does_not_fit_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = spine_table([{"one": "1", "two": "1", "event_timestamp": START}], TEXT)
    pq.write_table(rows.append_column("n", pa.array([1])), tmp_path / "rows")
    number = 600_000
    users, at = pa.array(range(number)).cast(TEXT), pa.array(range(number), pa.int64()).cast(STAMP)
    spine = pa.table({"one": users, "two": users, "event_timestamp": at})
    monkeypatch.setattr("playhead.serving.asof.open_duckdb", duckdb_without_a_folder)
    with pytest.raises(InputError, match=r"Out of Memory.* raise offline.memory_mb"):
        as_of(spine, "event_timestamp", [view(tmp_path / "rows", created=None)], memory_mb=12)


def test_keys_without_a_type_have_no_numbers() -> None:
    codes, values = coded([pa.chunked_array([pa.nulls(1), pa.nulls(1)]), pa.chunked_array([["a"], ["b"]])])
    assert (codes.to_pylist(), [each.to_pylist() for each in values]) == ([None, None], [[], []])
