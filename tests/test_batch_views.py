"""Partials, views and charts as relations, on DuckDB: what they mean, whatever the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest

from playhead.batch.charts import CATALOG, LENGTHS, MONTH, charts, listening
from playhead.days import DAY, BatchDays, PartialTable, dated_events, days_table, end_ms_of, lengths_of, view_rows
from playhead.declarations import load_declarations
from playhead.dimensions import rows_of
from playhead.errors import DeclarationError
from playhead.local.sql import compiled
from playhead.plan import DailyPlan
from tests.parity.streams import random_events

PLANS = load_declarations().daily_plans
LISTENER = next(plan for plan in PLANS if plan.key == "user_id")
NOV = [date(2018, 11, n) for n in range(1, 31)]

Rows = list[dict[str, Any]]


def run(relation: ir.Table, **inputs: pa.Table) -> Rows:
    """The relation's rows, in the order of all their columns but arrays."""
    with duckdb.connect() as connection:
        for name, table in inputs.items():
            connection.register(name, table)
        rows: Rows = connection.sql(compiled(relation)).to_arrow_table().to_pylist()
    return sorted(rows, key=lambda row: [str(v) for v in row.values() if not isinstance(v, list)])


def table_of(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.Table:
    schema = ibis.schema(columns).to_pyarrow()
    return pa.Table.from_pylist([dict.fromkeys(columns) | dict(row) for row in rows], schema=schema)


def day_of(event: Mapping[str, Any]) -> date:
    return datetime.fromtimestamp(event["event_time_ms"] / 1000, UTC).date()


def partials_of(table: PartialTable, events: Rows) -> pa.Table:
    dated = [event | {"dt": day_of(event).isoformat()} for event in events]
    source = pa.Table.from_pylist(dated, schema=dated_events().schema().to_pyarrow())
    return table_of(run(table.rows(dated_events()), events=source, **rows_of(table.dimensions, {})), table.columns)


def days_of(calendar: BatchDays, lengths: Iterable[int]) -> pa.Table:
    lengths = list(lengths)
    return pa.Table.from_pylist(calendar.rows(lengths), schema=days_table(lengths).schema().to_pyarrow())


def view_of(plan: DailyPlan, partials: pa.Table, calendar: BatchDays) -> Rows:
    table = PartialTable.of(plan)
    rows = view_rows(plan, ibis.table(table.columns, name="partials"))
    return run(rows, partials=partials, days=days_of(calendar, lengths_of(plan)))


def chart(name: str, partials: Iterable[Mapping[str, Any]], day: date, genres: Mapping[str, str | None] = {}) -> Rows:
    table = listening(PLANS)
    found = next(c for c in charts(table) if c.name == name)
    rows = table_of(({"plays": 0, "listen_ms": 0} | dict(row) for row in partials), table.columns)
    catalog = table_of(({"track_id": t, "genre": g} for t, g in genres.items()), CATALOG)
    days = days_of(BatchDays((day,), MONTH), LENGTHS)
    return run(found.rows, **{table.name: rows, "days": days, "catalog": catalog})


def play(
    day: date,
    user: str,
    track: str,
    plays: int,
    artist: str | None = "a",
    listen_ms: int = 0,
    content_type: str | None = None,
) -> dict[str, Any]:
    return {
        "dt": day.isoformat(),
        "user_id": user,
        "track_id": track,
        "artist_id": artist,
        "content_type": content_type,
        "plays": plays,
        "listen_ms": listen_ms,
    }


# --- partials and declared views -----------------------------------------------------------------------------------


def test_everyone_with_an_event_has_a_partial_also_of_zeros() -> None:
    search = {"event_type": "SEARCH", "user_id": "u", "event_time_ms": end_ms_of(NOV[0]) - 1}
    (row,) = partials_of(PartialTable.of(LISTENER), [search]).to_pylist()
    assert row == {"dt": "2018-11-01", "user_id": "u"} | {
        measure.name: 0 if measure.kind.is_integer() else None for measure in LISTENER.measures
    }
    track = next(plan for plan in PLANS if plan.key == "track_id")
    assert partials_of(PartialTable.of(track), [search]).num_rows == 0


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_windows_of_days_equal_a_naive_count(plan: DailyPlan) -> None:
    events = random_events(5, 900)
    days = sorted({day_of(event) for event in events})
    assert len(days) > 8
    wanted = (days[3], days[-3], days[-2], days[-1])
    rows = view_of(plan, partials_of(PartialTable.of(plan), events), BatchDays(wanted, 30))
    for day in wanted:
        mine = {row[plan.key]: row for row in rows if row["dt"] == day.isoformat()}
        seen = {e[plan.key] for e in events if day - 29 * DAY <= day_of(e) <= day} - {None}
        assert seen <= mine.keys()
        for entity, row in mine.items():
            for n in (7, 30):
                inside = [e for e in events if e[plan.key] == entity and day - (n - 1) * DAY <= day_of(e) <= day]
                ended = [e for e in inside if e["event_type"] in ("SKIP", "COMPLETE", "STOP")]
                assert row[f"plays_{n}d"] == sum(e["event_type"] == "PLAY" for e in inside)
                assert row[f"skips_{n}d"] == sum(e["event_type"] == "SKIP" for e in inside)
                assert row[f"listen_ms_{n}d"] == sum(e["ms_played"] or 0 for e in ended)
                assert row["end_ms"] == end_ms_of(day)


def listener_partials(*rows: tuple[date, int]) -> pa.Table:
    columns = PartialTable.of(LISTENER).columns
    own = [{"dt": d.isoformat(), "user_id": "u", "plays": n, "skips": 0, "listen_ms": 0} for d, n in rows]
    return table_of(own, columns)


def test_who_stopped_listening_counts_down_to_zero_not_to_nothing() -> None:
    partials = listener_partials((NOV[0], 3))
    found = {day: view_of(LISTENER, partials, BatchDays((day,), 30, (day - DAY,))) for day in (NOV[6], NOV[7], NOV[29])}
    assert [(r["plays_7d"], r["plays_30d"]) for rows in found.values() for r in rows] == [(3, 3), (0, 3), (0, 3)]


def test_the_day_after_the_last_window_has_one_last_row_of_zeros() -> None:
    partials, after = listener_partials((NOV[0], 3)), date(2018, 12, 1)
    (last,) = view_of(LISTENER, partials, BatchDays((after,), 30, (NOV[29],)))
    assert (last["dt"], last["plays_30d"]) == ("2018-12-01", 0)
    assert view_of(LISTENER, partials, BatchDays((after + DAY,), 30, (after,))) == []


def test_the_last_row_of_zeros_comes_after_days_that_were_not_run() -> None:
    partials, later = listener_partials((NOV[0], 3)), date(2018, 12, 9)
    (last,) = view_of(LISTENER, partials, BatchDays((later,), 30, (NOV[29],)))
    assert last["plays_30d"] == 0


# --- charts --------------------------------------------------------------------------------------------------------


def test_popularity_ranks_by_plays_and_breaks_ties_by_id() -> None:
    day = NOV[9]
    partials = [
        play(day, "u1", "t2", 2),
        play(day, "u2", "t1", 2),
        play(day - DAY, "u1", "t3", 4),
        play(day - 7 * DAY, "u1", "t4", 9),
        play(day, "u1", "t5", 0),
    ]
    rows = chart("track_popularity", partials, day)
    assert [(r["track_id"], r["plays_1d"], r["rank_1d"], r["share_1d"]) for r in rows] == [
        ("t1", 2, 1, 0.5),
        ("t2", 2, 2, 0.5),
        ("t3", 0, None, None),
    ]
    assert {r["track_id"]: (r["plays_7d"], r["rank_7d"], r["share_7d"]) for r in rows} == {
        "t1": (2, 2, 0.25),
        "t2": (2, 3, 0.25),
        "t3": (4, 1, 0.5),
    }


def test_popularity_of_artists_leaves_out_tracks_without_one() -> None:
    partials = [play(NOV[9], "u", "t1", 1, "a1"), play(NOV[9], "u", "t2", 1, "a1"), play(NOV[9], "u", "t3", 7, None)]
    (row,) = chart("artist_popularity", partials, NOV[9])
    assert (row["artist_id"], row["plays_1d"], row["share_1d"]) == ("a1", 2, 1.0)


def test_a_taste_profile_shares_out_the_time_whose_genre_is_known() -> None:
    partials = [
        play(NOV[0], "u", "t1", 1, "a1", 100),
        play(NOV[1], "u", "t2", 1, "a2", 300),
        play(NOV[1], "u", "t3", 1, "a3", 600),
        play(NOV[1], "u", "t4", 1, "a1", 550),
        play(NOV[1], "silent", "t1", 1, "a1", 0),
    ]
    genres = {"t1": "jazz", "t2": "pop", "t3": None}
    (row,) = chart("taste_profile", partials, NOV[29], genres)
    assert (row["user_id"], row["listen_ms_30d"]) == ("u", 1550)
    assert row["genres"] == [{"genre": "pop", "share": 0.75}, {"genre": "jazz", "share": 0.25}]
    assert row["top_artists"] == ["a1", "a3", "a2"]


def test_a_taste_profile_without_a_catalog_has_no_genres_and_five_artists() -> None:
    partials = [play(NOV[0], "u", f"t{n}", 1, f"a{n}", 5) for n in range(7)]
    (row,) = chart("taste_profile", partials, NOV[0])
    assert row["genres"] is None
    assert row["top_artists"] == ["a0", "a1", "a2", "a3", "a4"]


def test_top_tracks_are_of_each_listener_and_of_everybody() -> None:
    own = [play(NOV[0], "u1", f"t{n:03}", 100 - n) for n in range(60)]
    rows = {r["entity"]: r["tracks"] for r in chart("top_tracks", [*own, play(NOV[1], "u2", "t059", 60)], NOV[1])}
    assert rows["u1"] == [f"t{n:03}" for n in range(20)]
    assert rows["u2"] == ["t059"]
    assert rows[""][0] == "t059"  # 41 + 60 plays
    assert rows[""][1:] == [f"t{n:03}" for n in range(49)]


def test_a_pool_is_the_most_played_of_a_content_type_whoever_played_them() -> None:
    songs = [play(NOV[0], "u1", f"t{n:04}", 3, content_type="SONG") for n in range(1_002)]
    others = [
        play(NOV[0], "u2", "t1001", 1, content_type="SONG"),
        play(NOV[0], "u2", "t1001", 1, "b", content_type="SONG"),
        play(NOV[1], "u1", "p1", 1, content_type="PODCAST_EPISODE"),
        play(NOV[1], "u2", "p2", 2, content_type="PODCAST_EPISODE"),
        play(NOV[1], "u2", "p3", 0, content_type="PODCAST_EPISODE"),
        play(NOV[1], "u2", "x", 9),
    ]
    rows = {r["entity"]: r["tracks"] for r in chart("pool", [*songs, *others], NOV[29])}
    assert rows == {"SONG": ["t1001", *(f"t{n:04}" for n in range(999))], "PODCAST_EPISODE": ["p2", "p1"]}
    assert {r["entity"] for r in chart("pool", others, date(2018, 12, 1))} == {"PODCAST_EPISODE"}


def test_charts_need_plays_and_listening_time_per_listener() -> None:
    with pytest.raises(DeclarationError, match="daily group of user_id with plays and listen_ms"):
        listening([plan for plan in PLANS if plan.key != "user_id"])
