"""Dimensions: files that become rows, rows that are found, and what follows from a load."""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis import _
from typer.testing import CliRunner

from features.entities import artist as artist_entity
from features.entities import is_play, tracks, user
from playhead import dimensions
from playhead.batch.dimensions import enrichment_digests
from playhead.cli import app
from playhead.compile import compile_group, meanings
from playhead.config import Settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import Attribute, Count, Dimension, FeatureGroup, Mean, latest, sliding
from playhead.dimensions import Lookup, arrow_schema, lookup_file, sorted_rows
from playhead.errors import DeclarationError, InputError, StackError, UnknownName
from playhead.serving.dimension_table import load_dimension, read_dimension, read_file
from playhead.serving.online import open_online_store
from playhead.serving.packed import PackedRow, Packer
from playhead.speed.decode import Dimensions, decode_batch, decoded_columns
from playhead.testing import assert_values
from schemas.decode import encode
from tests.test_speed_decode import EVENT, MAX_BYTES, NOON_MS, records

HEADER = "track_id,artist_id,genre,tempo,valence,energy,duration_ms"
ROWS = "t1,a1,pop,120.5,0.5,0.25,200000\n007,a2,,90,0.1235,,\n"


def csv(folder: Path, text: str, name: str = "tracks.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


# --- files ---------------------------------------------------------------------------------------------------------


def test_decimals_become_whole_numbers_and_keys_stay_text(tmp_path: Path) -> None:
    rows = read_file(csv(tmp_path, f"{HEADER}\n{ROWS}"), tracks).to_pylist()
    unknown = {"genre": None, "energy": None, "duration_ms": None, "valid_from_ms": 0}
    assert rows[0] == {
        **{"track_id": "t1", "valid_from_ms": 0, "artist_id": "a1", "genre": "pop"},
        **{"tempo": 1_205, "valence": 500, "energy": 250, "duration_ms": 200_000},
    }
    # 123.5 thousandths: half to even.
    assert rows[1] == {"track_id": "007", "artist_id": "a2", "tempo": 900, "valence": 124, **unknown}


@pytest.mark.parametrize("moment", ["2025-03-02", "2025-03-02T00:00:00+00:00", "1740873600000"])
def test_a_file_may_say_from_when_its_rows_hold(tmp_path: Path, moment: str) -> None:
    text = f"{HEADER},valid_from,more\nt1,a1,pop,120,0.5,0.2,1,{moment},x\n"
    (row,) = read_file(csv(tmp_path, text), tracks, valid_from_ms=5).to_pylist()
    assert row["valid_from_ms"] == 1_740_873_600_000


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([date(2025, 3, 2), None, date(1970, 1, 1)]), [1_740_873_600_000, 7, 0]),
        (pa.array(["2025-03-02", None, "1970-01-01"]), [1_740_873_600_000, 7, 0]),
        (pa.array([1_740_873_600_000, None, 0]), [1_740_873_600_000, 7, 0]),
        (pa.array([1_740_873_600_000, None, 0], pa.timestamp("ms")), [1_740_873_600_000, 7, 0]),
    ],
)
def test_from_when_a_row_holds_may_be_any_moment_and_null_is_that_of_the_load(
    tmp_path: Path, column: pa.Array, expected: list[int]
) -> None:
    rows = {name: pa.nulls(3, pa.string()) for name in HEADER.split(",")} | {"track_id": pa.array(["a", "b", "c"])}
    pq.write_table(pa.table(rows | {"valid_from": column}), tmp_path / "tracks.parquet")
    assert read_file(tmp_path / "tracks.parquet", tracks, 7)["valid_from_ms"].to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{HEADER.replace('genre', 'gendre')}\n", "tracks.csv: no column 'genre'.*did you mean 'gendre'"),
        (f"{HEADER}\nt1,a,pop,1,1,1,1\n,a,pop,1,1,1,1\n", "tracks.csv: row 2: track_id is null"),
        (f"{HEADER}\nt1,a,pop,fast,1,1,1\n", "column 'tempo' is string, expected double"),
        (f"{HEADER}\nt1,a,pop,1,1,1,1.5\n", "column 'duration_ms' is double, expected int64"),
        (f"{HEADER},valid_from\nt1,a,pop,1,1,1,1,soon\n", "row 1: valid_from 'soon' is no moment"),
    ],
)
def test_a_file_that_does_not_fit_says_where(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_file(csv(tmp_path, text), tracks)
    with pytest.raises(InputError, match=r"expected a .csv or .parquet file, got .json"):
        read_file(tmp_path / "tracks.json", tracks)


# --- declarations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"genre": "text"}, "column 'genre' is 'text'.*string, int64, decimal"),
        ({"Genre": "string"}, "name 'Genre': allowed are words"),
        ({"created_at": "string"}, "'created_at' is a column that every table has"),
        ({"track_id": "string"}, "'track_id' is a column that every table has"),
    ],
)
def test_a_dimension_that_is_wrong_is_told(columns: dict[str, str], problem: str) -> None:
    with pytest.raises(DeclarationError, match=rf"dimension 'track' at .*test_dimensions.py:\d+: .*{problem}"):
        Dimension(name="track", key="track_id", columns=columns)


def group(*features: Any, enrich: tuple[Dimension, ...] = (tracks,), entity: Any = user) -> FeatureGroup:
    return FeatureGroup(name="probe", entity=entity, enrich=enrich, features=features)


def test_columns_that_cannot_be_are_told_when_compiled() -> None:
    plays = Count("plays", where=is_play & (_.track_genr == "pop"), over=sliding("1h"))
    with pytest.raises(DeclarationError, match="did you mean 'track_genre'"):
        compile_group(group(plays))
    ids = Dimension(name="track", key="track_id", columns={"id": "string"})
    with pytest.raises(DeclarationError, match=r"test_dimensions.py:\d+: events have a column 'track_id' already"):
        compile_group(group(Count("plays", where=is_play, over=sliding("1h")), enrich=(ids,)))
    keyless = Dimension(name="album", key="album_id", columns={"title": "string"})
    with pytest.raises(DeclarationError, match="found by 'album_id', which events do not have"):
        compile_group(group(Count("plays", where=is_play, over=sliding("1h")), enrich=(keyless,)))


def test_attributes_are_of_one_dimension_by_the_entitys_key() -> None:
    with pytest.raises(DeclarationError, match="by 'artist_id'"):
        group(Attribute("genre", of=tracks), entity=artist_entity)
    with pytest.raises(DeclarationError, match=r"no column 'genr'.*did you mean 'genre'"):
        FeatureGroup(
            name="p", entity=load_declarations().group("track").entity, features=(Attribute("genr", of=tracks),)
        )
    with pytest.raises(DeclarationError, match="or attributes"):
        group(Attribute("genre", of=tracks), Count("plays", where=is_play, over=sliding("1h")))
    with pytest.raises(DeclarationError, match="not between 1 and 1,000"):
        latest(0)


def test_a_group_depends_on_the_columns_that_it_names_and_on_no_other() -> None:
    plays = Count("plays", where=is_play, over=sliding("1h"))
    pop = Count("pop", where=_.track_genre == "pop", over=sliding("1h"))
    longer = Dimension(name="track", key="track_id", columns={**tracks.columns, "mood": "string"})
    other = Dimension(name="track", key="track_id", columns={**tracks.columns, "genre": "int64"})
    assert compile_group(group(plays)).dimensions == ()  # type: ignore[union-attr]
    (named,) = compile_group(group(pop)).dimensions  # type: ignore[union-attr]
    assert (named.name, named.key, named.columns) == ("track", "track_id", {"genre": "string"})
    assert meanings(group(plays)) == meanings(group(plays, enrich=()))
    assert meanings(group(pop)) == meanings(group(pop, enrich=(longer,)))
    assert meanings(group(plays)) == meanings(group(plays, enrich=(other,)))
    with pytest.raises(DeclarationError, match="there are two dimensions 'track'"):
        Declarations((group(pop), group(pop, enrich=(longer,))), ()).dimensions  # noqa: B018


def test_values_in_a_table_in_the_test() -> None:
    listened = group(
        Count("pop", where=is_play & (_.track_genre == "pop"), over=sliding("1h")),
        Mean("valence", _.track_valence, where=is_play, over=latest(2)),
    )
    assert_values(
        listened,
        """
        at                  | user_id | event_type | track_id
        2025-03-01 10:00:00 | ada     | PLAY       | t1
        2025-03-01 10:00:10 | ada     | PLAY       | t1
        2025-03-01 10:00:20 | ada     | PLAY       | t2
        """,
        """
        at                  | user_id | pop_1h | valence_last_2
        2025-03-01 10:00:01 | ada     | 1      | 100
        2025-03-01 10:00:11 | ada     | 1      | 200
        2025-03-01 10:00:21 | ada     | 1      | 300
        """,
        dimensions={
            "track": """
            at                  | track_id | genre | valence
            2025-03-01 09:00:00 | t1       | pop   | 100
            2025-03-01 10:00:10 | t1       | jazz  | 300
            """
        },
    )


def test_attributes_in_a_table_in_the_test() -> None:
    assert_values(
        load_declarations().group("track_item"),
        "at | user_id | event_type\n2025-03-01 10:00:00 | ada | PAUSE",
        """
        at                      | track_id | genre | tempo
        2025-03-01 09:59:59.999 | t1       |       |
        2025-03-01 10:00:00     | t1       | pop   | 1205
        2025-03-01 10:00:00     | t2       |       |
        """,
        dimensions={"track": "at | track_id | genre | tempo\n2025-03-01 10:00:00 | t1 | pop | 1205"},
    )
    with pytest.raises(UnknownName, match="did you mean 'track'"):
        assert_values(load_declarations().group("track_item"), "", "", dimensions={"tracks": ""})


# --- look-up -------------------------------------------------------------------------------------------------------


def random_rows(rng: random.Random) -> pa.Table:
    rows = {(f"t{rng.randrange(6)}", rng.randrange(20)) for _ in range(30)}
    own = [
        dict.fromkeys(tracks.columns) | {"track_id": t, "valid_from_ms": ms, "tempo": i}
        for i, (t, ms) in enumerate(rows)
    ]
    return pa.Table.from_pylist(own, arrow_schema(tracks))


@pytest.mark.parametrize("bits", [0, 1, 64])
def test_a_look_up_finds_the_latest_row_that_holds_whatever_the_hashes(bits: int, monkeypatch: Any) -> None:
    right = dimensions.hashes_of
    monkeypatch.setattr(dimensions, "hashes_of", lambda keys: right(keys) & np.uint64(2**bits - 1))
    for seed in range(20):
        rng = random.Random(seed)
        rows = random_rows(rng)
        asked = [(rng.choice([None, *(f"t{n}" for n in range(8))]), rng.randrange(-1, 22)) for _ in range(60)]
        found = Lookup(tracks, sorted_rows(tracks, rows)).values([k for k, _ in asked], [ms for _, ms in asked])
        for (key, ms), got in zip(asked, found["track_tempo"], strict=True):
            held = [r for r in rows.to_pylist() if r["track_id"] == key and r["valid_from_ms"] <= ms]
            assert got == max(held, key=lambda r: r["valid_from_ms"], default={"tempo": None})["tempo"]


def test_the_stream_takes_a_new_file_and_knows_nothing_without_one(tmp_path: Path) -> None:
    known = copy.copy(Dimensions(tmp_path, [tracks]))
    columns = list(decoded_columns([tracks]))

    def genre() -> Any:
        frame = decode_batch(records(encode(EVENT), b"bad"), MAX_BYTES, known)
        assert list(frame.columns) == columns
        assert pd.isna(frame["track_genre"][1])
        return frame["track_genre"][0]

    def write(genre: str) -> None:
        row = dict.fromkeys(tracks.columns) | {"track_id": "t1", "valid_from_ms": NOON_MS, "genre": genre}
        file = lookup_file(tmp_path, tracks)
        file.parent.mkdir(exist_ok=True)
        dimensions.write_rows(tracks, pa.Table.from_pylist([row], arrow_schema(tracks)), file)

    assert genre() is None
    write("pop")
    assert genre() == "pop"
    write("jazz")
    assert genre() == "jazz"


def test_a_column_that_the_file_does_not_have_as_declared_is_null(tmp_path: Path) -> None:
    row = dict.fromkeys(tracks.columns) | {"track_id": "t1", "valid_from_ms": 0, "genre": "pop", "tempo": 1_205}
    dimensions.write_rows(tracks, pa.Table.from_pylist([row], arrow_schema(tracks)), tmp_path / "track.arrow")
    columns = {"genre": "string", "tempo": "decimal(2)", "mood": "string", "duration_ms": "string"}
    now = Dimension(name="track", key="track_id", columns=columns)
    assert Lookup.open(now, tmp_path / "track.arrow").values(["t1"], [5]) == {
        "track_genre": ["pop"],
        "track_tempo": [None],
        "track_mood": [None],
        "track_duration_ms": [None],
    }


# --- loads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(online: Settings, tmp_path: Path) -> Settings:
    return online.model_copy(update={"home": tmp_path / "home"})


@pytest.mark.stack
def test_a_load_adds_changes_and_is_the_same_the_second_time(home: Settings, tmp_path: Path) -> None:
    declared, file = load_declarations(), csv(tmp_path, f"{HEADER}\n{ROWS}")
    first, again = (load_dimension(home, declared, "track", [file]) for _ in range(2))
    assert (first.read, first.new, first.changed, first.rows, first.keys) == (2, 2, 0, 2, 2)
    assert (again.read, again.new, again.changed, again.rows, again.keys) == (2, 0, 0, 2, 2)
    other = csv(tmp_path, f"{HEADER}\n{ROWS.replace('pop', 'jazz')}t3,a3,folk,1,1,1,1\n", "other.csv")
    changed = load_dimension(home, declared, "track", [other])
    assert (changed.new, changed.changed, changed.rows) == (1, 1, 3)
    later = load_dimension(home, declared, "track", [file], valid_from=datetime(2025, 3, 2, tzinfo=UTC))
    assert (later.new, later.rows, later.keys) == (2, 5, 3)
    genres = {(r["track_id"], r["valid_from_ms"]): r["genre"] for r in read_dimension(home.lake, tracks).to_pylist()}
    assert genres["t1", 0] == "jazz"
    assert genres["t1", 1_740_873_600_000] == "pop"


@pytest.mark.stack
def test_a_column_of_another_type_is_refused_and_a_new_one_is_null(home: Settings, tmp_path: Path) -> None:
    load_dimension(home, load_declarations(), "track", [csv(tmp_path, f"{HEADER}\n{ROWS}")])
    finer = Dimension(name="track", key="track_id", columns={"valence": "decimal(4)"})
    with pytest.raises(InputError, match=r"'valence' was loaded as decimal\(3\), but is decimal\(4\) now"):
        read_dimension(home.lake, finer)
    wider = Dimension(name="track", key="track_id", columns={"genre": "string", "mood": "string"})
    assert {row["mood"] for row in read_dimension(home.lake, wider).to_pylist()} == {None}
    genre = Dimension(name="track", key="track_id", columns={"genre": "string"})
    before = enrichment_digests(home.lake, [genre])(date(2025, 3, 2))
    slower = csv(tmp_path, f"{HEADER}\n{ROWS.replace('120.5', '60')}", "slower.csv")
    assert load_dimension(home, load_declarations(), "track", [slower]).changed == 1
    assert enrichment_digests(home.lake, [genre])(date(2025, 3, 2)) == before, "a column that nobody asks for"


@pytest.mark.stack
def test_attributes_are_online_as_they_hold_now(home: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    text = f"{HEADER},valid_from\nz1,a,pop,120,0.5,0.2,1,2020-01-01\nz1,a,jazz,120,0.5,0.2,1,2021-01-01\n"
    text += "z1,a,folk,120,0.5,0.2,1,2022-01-01\n"
    done = load_dimension(home, declared, "track", [csv(tmp_path, text)], now_ms=lambda: 1_620_000_000_000)
    assert (done.later, done.online) == (1, {"track_item": 1})
    with open_online_store(home.redis) as store:
        (row,) = store.read(Packer.of(declared.plan("track_item")), ["z1"])
    assert isinstance(row, PackedRow)
    assert (row.values["genre"], row.event_timestamp_ms) == ("jazz", 1_609_459_200_000)


@pytest.mark.stack
def test_what_a_day_is_enriched_with_changes_from_the_day_a_row_holds(home: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    load_dimension(home, declared, "track", [csv(tmp_path, f"{HEADER}\n{ROWS}")])
    before = enrichment_digests(home.lake, [tracks])
    load_dimension(
        home, declared, "track", [csv(tmp_path, f"{HEADER}\n{ROWS}")], valid_from=datetime(2025, 3, 2, tzinfo=UTC)
    )
    after = enrichment_digests(home.lake, [tracks])
    days = [date(2025, 3, day) for day in (1, 2, 3)]
    assert [before(day) == after(day) for day in days] == [True, False, False]


@pytest.mark.stack
def test_a_row_that_is_there_twice_is_refused(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="track_id 't1' is there 2 times with valid_from 1970-01-01"):
        load_dimension(home, load_declarations(), "track", [csv(tmp_path, f"{HEADER}\n{ROWS}{ROWS}")])
    with pytest.raises(UnknownName, match="did you mean 'track'"):
        load_dimension(home, load_declarations(), "tracks", [])
    assert not home.lake.exists()


def test_without_the_online_store_nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="Redis"):
        load_dimension(settings, load_declarations(), "track", [csv(tmp_path, f"{HEADER}\n{ROWS}")])
    assert not settings.lake.exists()


@pytest.mark.stack
def test_the_commands(online: Settings, tmp_path: Path) -> None:
    run, place = CliRunner().invoke, ["--home", str(online.home)]
    file = csv(tmp_path, f"{HEADER}\n{ROWS}")
    done = run(app, ["dimensions", "load", "track", str(file), *place])
    assert done.exit_code == 0, done.output
    assert "track: 2 rows read, 2 new, 0 changed; 2 rows of 2 keys" in done.stdout
    (listed,) = json.loads(run(app, ["dimensions", "list", "--json", *place]).stdout)
    assert (listed["dimension"], listed["rows"], listed["keys"]) == ("track", 2, 2)
