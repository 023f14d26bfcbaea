"""Training sets, from a lake that DuckDB filled, against the naive oracle; and spines that cannot be used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import structlog

from playhead import oracle
from playhead.checks import results
from playhead.cli import main
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError, UnknownName
from playhead.local.changelog import changelog
from playhead.plan import AttributePlan, DailyPlan
from playhead.serving.registry import apply
from playhead.serving.spine import read_spine
from playhead.serving.training_set import build_training_set
from tests.archive import at, write_rows
from tests.parity.streams import as_table, moments, random_events

KEYS = ["user_id", "track_id", "artist_id"]
NOON = 1_700_049_600_000
NOON_TEXT = "2023-11-15T12:00:00Z"


def spine_file(path: Path, **columns: list[object]) -> Path:
    table = pa.table({"user_id": ["u0"], "track_id": ["t0"], "artist_id": ["a0"], "event_timestamp": [NOON]} | columns)
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def test_a_training_set_equals_the_naive_reading_of_the_events(settings: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    service = declared.service("listener_v1")
    events = random_events(1, 80)
    for plan in declared.speed_plans:
        rows = changelog(plan, as_table(events)).to_pylist()
        write_rows(settings.lake, plan, rows)
        # After a restart the job writes some of its rows again.
        write_rows(settings.lake, plan, rows[len(rows) // 2 :], name="part-1", created=1)
    apply(settings, declared)
    rng = random.Random(1)
    times = moments(events, 1, 60)
    spine = {key: [f"{key[0]}{rng.randrange(4)}" for _ in times] for key in KEYS}
    file = spine_file(tmp_path / "spine.csv", **spine, event_timestamp=times, label=[*range(60)])
    made = build_training_set(settings, declared, "listener_v1", file, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names[:5] == [*KEYS, "event_timestamp", "label"]
    assert table["label"].to_pylist() == list(range(60))
    assert table["event_timestamp"].to_pylist() == [at(time) for time in times]
    compared = 0
    for group in (g for g in service.groups if not isinstance(declared.plan(g.name), DailyPlan | AttributePlan)):
        for row, time_ms in zip(table.to_pylist(), times, strict=True):
            got = {feature: row[f"{group.name}__{feature}"] for feature in group.feature_names}
            known = oracle.enriched(group, events, {})
            expected = oracle.values_at(group, known, row[group.entity.key], time_ms)
            # Before an entity's first event there is no row at all.
            assert got == expected or not (any(v is not None for v in got.values()) or any(expected.values()))
            compared += any(expected.values())
    assert compared > 60
    assert all(
        table[f"listener_daily__{name}"].null_count == 60 for name in declared.group("listener_daily").feature_names
    )
    saved = results.load(settings, "training_set")
    assert saved is not None
    assert (saved["rows"], saved["service"], saved["nulls"]["listener_daily__plays_7d"]) == (60, "listener_v1", 60)
    assert saved["fingerprints"]["listener"] == declared.plan("listener").fingerprint == made.fingerprints["listener"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("value", [NOON, str(NOON), NOON_TEXT, "2023-11-15 12:00:00", "2023-11-15T13:00:00+01:00"])
def test_moments_are_read_from_numbers_and_text(tmp_path: Path, ending: str, value: object) -> None:
    file = spine_file(tmp_path / f"spine.{ending}", event_timestamp=[value])
    assert read_spine(file, KEYS)["event_timestamp"].to_pylist() == [at(NOON)]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.timestamp("ms", "Asia/Tokyo")])
def test_moments_are_read_from_any_column_of_timestamps(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([NOON], pa.timestamp("ms")).cast(pa.timestamp(kind.unit)).cast(kind)
    file = spine_file(tmp_path / "spine.parquet", event_timestamp=column)
    assert read_spine(file, KEYS)["event_timestamp"].to_pylist() == [at(NOON)]


def test_keys_of_a_csv_file_stay_text_and_labels_become_numbers(tmp_path: Path) -> None:
    file = spine_file(tmp_path / "spine.csv", user_id=["007"], other=["012"], label=[1])
    table = read_spine(file, KEYS, texts=["other"])
    assert table.select(["user_id", "other", "label"]).to_pylist() == [{"user_id": "007", "other": "012", "label": 1}]


@pytest.mark.parametrize(
    "value", ["soon", "", None, "1700049600", NOON // 1000, -1, 2**62, "1999-01-01", "2023-13-01T00:00:00"]
)
def test_a_value_that_is_no_moment_is_named_with_its_file_and_row(tmp_path: Path, value: object) -> None:
    good = NOON if isinstance(value, int) else NOON_TEXT
    two = {key: ["x", "x"] for key in KEYS}
    file = spine_file(tmp_path / "spine.parquet", **two, event_timestamp=[good, value])
    with pytest.raises(InputError) as error:
        read_spine(file, KEYS)
    assert f"spine.parquet: row 2: event_timestamp {value!r} is no moment (1 of 2 rows)" in str(error.value)


def test_a_spine_without_its_columns_is_told_all_that_it_needs(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["u0"], "track_id": ["t0"], "time": [0]}), tmp_path / "spine.parquet")
    with pytest.raises(InputError) as error:
        read_spine(tmp_path / "spine.parquet", KEYS)
    assert "no column artist_id, event_timestamp; it has user_id, track_id, time" in str(error.value)
    assert "needs user_id, track_id, artist_id, event_timestamp" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.csv", None, "no such file"),
        ("empty.csv", b"", "cannot be read as csv"),
        ("torn.csv", b"user_id,event_timestamp\na\n", "cannot be read as csv"),
        ("noise.parquet", b"PAR1 no", "cannot be read as parquet"),
        ("spine.xlsx", b"", "a .csv or .parquet file, got .xlsx"),
        ("twice.csv", b"user_id,user_id,track_id,artist_id,event_timestamp\n", "column user_id is there twice"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_spine(tmp_path / name, KEYS)


def test_keys_that_became_floats_are_refused(tmp_path: Path) -> None:
    file = spine_file(tmp_path / "spine.parquet", user_id=[12.0])
    with pytest.raises(InputError, match="column 'user_id' is double, expected text"):
        read_spine(file, KEYS)


def test_a_spine_without_rows_gives_a_training_set_without_rows(settings: Settings, tmp_path: Path) -> None:
    apply(settings, load_declarations())
    (tmp_path / "spine.csv").write_text("user_id,track_id,artist_id,event_timestamp\n")
    output = tmp_path / "out.parquet"
    made = build_training_set(settings, load_declarations(), "listener_v1", tmp_path / "spine.csv", output)
    assert (made.rows, pq.read_table(output).schema.field("listener__skip_rate_1h").type) == (0, pa.float64())


def test_what_cannot_be_written_is_found_before_work_is_done(settings: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    spine = spine_file(tmp_path / "spine.parquet", listener__plays_1h=[1])
    for output, told in [
        (tmp_path / "absent" / "out.parquet", "no such folder"),
        (tmp_path / "out.csv", "the output is a .parquet file"),
        (spine, "would replace the spine"),
        (tmp_path / "out.parquet", "it already has listener__plays_1h"),
    ]:
        with pytest.raises(InputError, match=told):
            build_training_set(settings, declared, "listener_v1", spine, output)
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        build_training_set(settings, declared, "listener_v9", spine, tmp_path / "out.parquet")
    assert {file.name for file in tmp_path.iterdir()} == {"spine.parquet", "home"}


@pytest.fixture
def command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[object, str]]]:
    """Run `playhead …` on the settings' home: exit code and standard output."""

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["playhead", *arguments, "--home", str(settings.home)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code, capsys.readouterr().out

    yield run
    # `main` sends logs to this test's standard error, which is closed now.
    structlog.reset_defaults()


def test_the_commands_of_an_ml_engineer(command_line: Callable[..., tuple[object, str]], tmp_path: Path) -> None:
    code, text = command_line("features", "list", "--json")
    groups = {group["group"]: group for group in json.loads(text)["groups"]}
    assert code == 0
    assert groups["listener"]["fingerprint"] == load_declarations().plan("listener").fingerprint
    assert groups["listener"]["features"]["plays"] == ["1m", "1h", "1d"]
    assert "skip_rate_1h" in command_line("features", "list")[1]
    spine = spine_file(tmp_path / "spine.parquet")
    wanted = (
        "training-set",
        "--service",
        "listener_v1",
        "--spine",
        str(spine),
        "--output",
        str(tmp_path / "o.parquet"),
    )
    assert command_line(*wanted) == (1, "")
    assert "listener_v1" in command_line("features", "apply")[1]
    code, text = command_line(*wanted, "--json")
    assert (code, json.loads(text)["rows"]) == (0, 1)
