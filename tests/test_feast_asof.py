"""The as-of join against its naive reading, and at its edges."""

from __future__ import annotations

import dataclasses
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.errors import InputError
from playhead.serving.asof import as_of
from playhead.serving.lake_rows import Feature, ViewRows
from playhead.serving.ranges import rows_between

START = datetime(2024, 2, 28, 23, 59, 57, tzinfo=UTC)
US = timedelta(microseconds=1)
FEATURES = (Feature("n", "v__n", pa.int64()), Feature("tags", "v__tags", pa.list_(pa.string())))
ROWS = pa.schema(
    {
        "user_id": pa.string(),
        "event_timestamp": pa.timestamp("ms", "UTC"),
        "n": pa.int64(),
        "tags": pa.list_(pa.string()),
        "created_at": pa.timestamp("ms", "UTC"),
    }
)

entities = st.sampled_from(["a", "b", "1", "11"])
stored = st.lists(
    st.tuples(entities, st.integers(0, 6), st.none() | st.integers(-3, 3), st.none() | st.lists(st.sampled_from("xy"))),
    max_size=25,
)
asked = st.lists(
    st.tuples(
        st.none() | entities | st.just("unknown"),
        st.none()
        | st.integers(-1, 7).flatmap(lambda s: st.sampled_from([-1, 0, 1]).map(lambda us: s * 1_000_000 + us)),
    ),
    max_size=12,
)


def view(path: Path, kind: Any = "parquet", **changes: Any) -> ViewRows:
    keys = (("user_id", "user_id"),)
    whole = ViewRows(name="v", path=path, format=kind, keys=keys, features=FEATURES, created="created_at")
    return dataclasses.replace(whole, **changes)


def row(entity: str, second: int, n: int | None, tags: list[str] | None = None, created: int = 0) -> dict[str, Any]:
    stamps = {"event_timestamp": START + timedelta(seconds=second), "created_at": START + timedelta(seconds=created)}
    return {"user_id": entity, "n": n, "tags": tags, **stamps}


def write(path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Rows in several files, the latest created first."""
    for number, part in enumerate([rows[1::2], rows[::2]]):
        table = pa.Table.from_pylist(part, schema=ROWS)
        if kind == "delta":
            write_deltalake(path, table, mode="append")
        elif part:
            path.mkdir(exist_ok=True)
            pq.write_table(table, path / f"part-{number}")


def naive(rows: list[dict[str, Any]], entity: str | None, moment: datetime | None, ttl: timedelta | None) -> Any:
    if entity is None or moment is None:
        return None, None
    known = [r for r in rows if r["user_id"] == entity and r["event_timestamp"] <= moment]
    if not known:
        return None, None
    best = max(known, key=lambda r: (r["event_timestamp"], r["created_at"]))
    if ttl is not None and best["event_timestamp"] < moment - ttl:
        return None, None
    return best["n"], best["tags"]


@pytest.mark.parametrize("kind", ["parquet", "delta"])
@settings(max_examples=25)
@given(
    stored=stored,
    asked=asked,
    ttl=st.sampled_from([None, timedelta(seconds=1), timedelta(seconds=3)]),
    zone=st.sampled_from(["UTC", "America/New_York", None]),
    unit=st.sampled_from(["us", "ns"]),
)
def test_the_join_equals_a_naive_one(
    kind: str, stored: Any, asked: Any, ttl: timedelta | None, zone: str | None, unit: str
) -> None:
    rows = [row(entity, second, n, tags, created) for created, (entity, second, n, tags) in enumerate(stored)]
    moments = [None if us is None else START + us * US for _, us in asked]
    column = pa.array(moments, pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone or "UTC"))
    if zone is None:
        column = column.cast(pa.timestamp(unit))
    users = [entity for entity, _ in asked]
    spine = pa.table({"user_id": pa.array(users, pa.string()), "at": column, "label": list(range(len(users)))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        write(path, kind, rows)
        joined = as_of(spine, "at", [view(path, kind, ttl=ttl)])
    assert joined.select(spine.column_names).equals(spine)
    expected = [naive(rows, user, moment, ttl) for user, moment in zip(users, moments, strict=True)]
    assert list(zip(joined["v__n"].to_pylist(), joined["v__tags"].to_pylist(), strict=True)) == expected


def spine(*users: str, **more: list[Any]) -> pa.Table:
    moments = pa.array([START + timedelta(seconds=5)] * len(users), pa.timestamp("us", "UTC"))
    return pa.table({"user_id": list(users), "at": moments, **more})


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_rows_that_do_not_exist_yet_are_nulls_of_the_right_type(tmp_path: Path, kind: str) -> None:
    joined = as_of(spine("a", "a"), "at", [view(tmp_path / "absent", kind)])
    assert [joined.schema.field(f.name).type for f in FEATURES] == [pa.int64(), pa.list_(pa.string())]
    assert joined["v__n"].to_pylist() == [None, None]
    assert rows_between(view(tmp_path / "absent", kind), None, None, latest=True).num_rows == 0


def test_files_in_progress_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "rows", "parquet", [row("a", 1, 7)])
    for name in (".part-9.inprogress", "_SUCCESS"):
        (tmp_path / "rows" / name).write_bytes(b"no parquet")
    assert as_of(spine("a"), "at", [view(tmp_path / "rows")])["v__n"].to_pylist() == [7]


def test_a_path_with_the_signs_of_a_pattern_is_read_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "[a] *?", "parquet", [row("a", 1, 7)])
    assert as_of(spine("a"), "at", [view(tmp_path / "[a] *?")])["v__n"].to_pylist() == [7]


def test_files_from_before_a_feature_was_declared_have_nulls(tmp_path: Path) -> None:
    write(tmp_path / "rows", "parquet", [row("a", 1, 7)])
    old = pa.Table.from_pylist([row("b", 1, 8)], schema=ROWS).drop_columns("tags")
    pq.write_table(old, tmp_path / "rows" / "older")
    features = (*FEATURES, Feature("newest", "v__newest", pa.float64()))
    joined = as_of(spine("a", "b"), "at", [view(tmp_path / "rows", features=features)])
    assert joined.select(["v__n", "v__tags", "v__newest"]).to_pydict() == {
        "v__n": [7, 8],
        "v__tags": [None, None],
        "v__newest": [None, None],
    }


def test_a_view_of_several_keys_is_joined_on_all_of_them(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist([row("1", 1, 1), row("1", 2, 2), row("11", 1, 3)], schema=ROWS)
    rows = rows.append_column("track_id", pa.array(["11", "1", "1"]))
    pq.write_table(rows, tmp_path / "rows")
    keys = (("user_id", "user_id"), ("candidate", "track_id"))
    joined = as_of(
        spine("1", "11", "1", "1", candidate=["11", "1", "1", "2"]), "at", [view(tmp_path / "rows", keys=keys)]
    )
    assert joined["v__n"].to_pylist() == [1, 3, 2, None]


def test_names_of_columns_mean_nothing_to_the_join(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist([row("a", 1, 7)], schema=ROWS)
    rows = rows.rename_columns(["moment", "at", "place", "key_0", 'cre"ated'])
    pq.write_table(rows, tmp_path / "rows")
    odd = view(
        tmp_path / "rows",
        keys=(("user_id", "moment"),),
        features=(Feature("place", "created", pa.int64()), Feature("key_0", "held", pa.list_(pa.string()))),
        timestamp="at",
        created='cre"ated',
    )
    joined = as_of(spine("a", place=[1], moment=[2], key_0=[3]), "at", [odd])
    assert joined.column_names == ["user_id", "at", "place", "moment", "key_0", "created", "held"]
    assert joined["created"].to_pylist() == [7]


def test_a_column_of_numbers_joins_as_text_but_floats_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "rows", "parquet", [row("12", 1, 7)])
    numbers = spine("a").set_column(0, "user_id", pa.array([12]))
    assert as_of(numbers, "at", [view(tmp_path / "rows")])["v__n"].to_pylist() == [7]
    with pytest.raises(InputError, match="'user_id' is double, but the key of view 'v' is string"):
        as_of(numbers.set_column(0, "user_id", pa.array([12.0])), "at", [view(tmp_path / "rows")])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"user_id": ["a"]}), "no column at; it has user_id"),
        (
            pa.table({"at": pa.array([0], pa.timestamp("s"))}),
            "no column user_id; it has at — hint: needed: user_id, at",
        ),
        (pa.table({"user_id": ["a"], "at": [1]}), "column 'at' is int64, expected timestamps"),
        (spine("a", v__n=[1]), "the result would have twice: v__n"),
    ],
)
def test_a_spine_that_does_not_fit_is_told_apart(tmp_path: Path, table: pa.Table, told: str) -> None:
    with pytest.raises(InputError, match=told):
        as_of(table, "at", [view(tmp_path)])


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-0").write_bytes(b"no parquet at all")
    with pytest.raises(InputError, match=r"view 'v': cannot read .*part-0"):
        as_of(spine("a"), "at", [view(tmp_path)])


def test_rows_of_another_shape_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "part-0")
    with pytest.raises(InputError, match="has no column 'user_id'; it has x"):
        as_of(spine("a"), "at", [view(tmp_path)])


def test_rows_between_collapses_repeats_and_can_keep_the_latest_only(tmp_path: Path) -> None:
    rows = [row("a", 1, 1, created=1), row("a", 1, 2, created=5), row("a", 2, 3), row("b", 4, 4), row("b", 9, 5)]
    write(tmp_path / "rows", "parquet", rows)
    start, end = START + timedelta(seconds=1), START + timedelta(seconds=4)
    every = rows_between(view(tmp_path / "rows"), start, end, latest=False)
    assert every.column_names == ["user_id", "v__n", "v__tags", "event_timestamp", "created_at"]
    assert list(zip(every["user_id"].to_pylist(), every["v__n"].to_pylist(), strict=True)) == [
        ("a", 2),
        ("a", 3),
        ("b", 4),
    ]
    latest = rows_between(view(tmp_path / "rows"), start, end, latest=True)
    assert sorted(latest["v__n"].to_pylist()) == [3, 4]
