"""What a training set was made of: kept, made again to the byte, and cut as served or as corrected."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from playhead.config import OfflineSettings, Settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import FeatureService
from playhead.errors import InputError, UnsupportedError
from playhead.plan import speed_plan
from playhead.relations import DAY_MS, day_key
from playhead.serving.registry import apply
from playhead.serving.training_set import TrainingSet, build_again, build_training_set
from tests.archive import at, backfilled, publish, write_rows
from tests.lake import write_events

NOON = 1_700_049_600_000
HOUR = 3_600_000
DAY = date(2023, 11, 15)


def declared_for(*groups: str) -> Declarations:
    declared = load_declarations()
    service = FeatureService(name="small_v2", groups=tuple(map(declared.group, groups)))
    return dataclasses.replace(declared, services=(service,))


def row(time_ms: int, plays: int) -> dict[str, Any]:
    return {"user_id": "u0", "event_timestamp_ms": time_ms, "plays_1h": plays}


def spine_file(folder: Path, *times_ms: int, **more: Any) -> Path:
    spine = pa.table({"user_id": ["u0"] * len(times_ms), "track_id": ["t0"] * len(times_ms)} | more)
    moments = pa.array([at(time) for time in times_ms], pa.timestamp("us", "UTC"))
    pq.write_table(spine.append_column("event_timestamp", moments), folder / "spine.parquet")
    return folder / "spine.parquet"


def plays(made: TrainingSet) -> list[int | None]:
    values: list[int | None] = pq.read_table(made.output)["listener__plays_1h"].to_pylist()
    return values


@pytest.fixture
def lake(settings: Settings) -> Path:
    """Two plays of a user, archived; and a track's partials of the day before, in a published lake."""
    declared = load_declarations()
    write_events(settings.lake, [{"event_time_ms": NOON}])
    write_rows(settings.lake, declared.plan("listener"), [row(NOON, 1), row(NOON + HOUR, 2)])
    track = declared.plan("track_daily")
    today = {track.key: day_key("t0", NOON - NOON % DAY_MS), "event_timestamp_ms": NOON}
    write_rows(settings.lake, speed_plan(track), [today])
    publish(settings.lake, date(2023, 11, 14), {"track_daily": [{"dt": "2023-11-14", "track_id": "t0"}]})
    return settings.lake


def test_a_set_is_made_again_to_the_byte_whatever_came_after_it(settings: Settings, lake: Path, tmp_path: Path) -> None:
    declared = declared_for("listener", "track_daily")
    apply(settings, declared)
    small = settings.model_copy(update={"offline": OfflineSettings(rows_at_once=2)})
    spine = spine_file(tmp_path, *(NOON + n * HOUR // 2 for n in range(-1, 4)))
    made = build_training_set(small, declared, "small_v2", spine, tmp_path / "set.parquet")
    assert plays(made) == [0, 1, 1, 2, 2]
    assert pq.read_metadata(made.output).num_row_groups == 3
    # Later: a correction of a row, another day, and other settings.
    write_rows(lake, declared.plan("listener"), [row(NOON, 7)], name="part-1", created=1)
    publish(lake, DAY, {"track_daily": [{"dt": "2023-11-15", "track_id": "t0"}]})
    spine = spine.rename(tmp_path / "moved.parquet")
    again = build_again(settings, declared, Path(made.manifest), tmp_path / "again.parquet", spine)
    assert Path(again.output).read_bytes() == Path(made.output).read_bytes()
    assert again.nulls == made.nulls
    new = build_training_set(settings, declared, "small_v2", spine, tmp_path / "new.parquet")
    assert plays(new) == [0, 7, 7, 2, 2]
    (lake / "speed" / "listener" / "dt=2023-11-15" / "part-0").unlink()
    with pytest.raises(InputError, match=r"part-0 is gone .* cannot be read any more"):
        build_again(settings, declared, Path(made.manifest), tmp_path / "again.parquet", spine)


def test_the_manifest_and_the_file_say_what_it_was_made_of(settings: Settings, lake: Path, tmp_path: Path) -> None:
    declared = declared_for("listener", "track_daily")
    apply(settings, declared)
    spine = spine_file(tmp_path, NOON)
    made = build_training_set(settings, declared, "small_v2", spine, tmp_path / "set.parquet")
    kept = json.loads((tmp_path / "set.parquet.json").read_text())
    assert (kept["service"], kept["version"], kept["cut"], kept["rows"]) == ("small_v2", 2, "as-served", 1)
    assert kept["fingerprints"]["listener"] == declared.plan("listener").fingerprint
    tables = kept["inputs"]["tables"]
    size = (lake / "speed" / "listener" / "dt=2023-11-15" / "part-0").stat().st_size
    assert tables["speed/listener"]["files"] == [["dt=2023-11-15/part-0", size]]
    assert tables["daily/track_daily"] == {"version": 0}
    inside = json.loads(pq.read_schema(made.output).metadata[b"playhead"])
    assert inside["inputs"]["tables"]["speed/listener"] == {"digest": tables["speed/listener"]["digest"]}
    assert inside["spine_sha256"] == kept["spine_sha256"]
    again = tmp_path / "again.parquet"
    spine_file(tmp_path, NOON + 1)
    with pytest.raises(InputError, match="SHA-256"):
        build_again(settings, declared, Path(made.manifest), again)
    (tmp_path / "odd.json").write_text(json.dumps(kept | {"fingerprints": {"listener": "x", "track_daily": "y"}}))
    with pytest.raises(InputError, match="fingerprints of listener, track_daily changed"):
        build_again(settings, declared, tmp_path / "odd.json", again)
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(InputError, match="no manifest of a training set"):
        build_again(settings, declared, tmp_path / "odd.json", again)


def test_a_set_as_corrected_is_of_the_backfill(settings: Settings, lake: Path, tmp_path: Path) -> None:
    declared = declared_for("listener")
    apply(settings, declared)
    plan = speed_plan(declared.plan("listener"))  # type: ignore[arg-type]
    spine = spine_file(tmp_path, NOON, NOON + HOUR)

    def corrected() -> TrainingSet:
        output = tmp_path / "set.parquet"
        return build_training_set(settings, declared, "small_v2", spine, output, cut="as-corrected")

    with pytest.raises(InputError, match=r"no backfill in .*listener — hint: run `playhead backfill --group listener`"):
        corrected()
    backfilled(lake, plan, [row(NOON, 5)], "2023-11-15", fingerprint="before")
    with pytest.raises(InputError, match="of 2023-11-15 was made of another declaration"):
        corrected()
    backfilled(lake, plan, [row(NOON, 5)], "2023-11-15")
    made = corrected()
    assert plays(made) == [5, 5]
    write_events(lake, [{"event_time_ms": NOON - 24 * HOUR}])
    with pytest.raises(InputError, match="has not got 2023-11-14, a day with rows"):
        corrected()
    backfilled(lake, plan, [row(NOON, 6)], "2023-11-14")
    assert plays(corrected()) == [6, 6]
    first = tmp_path / "set.parquet.json"
    first.write_text(first.read_text().replace('"version": 2\n', '"version": 1\n'))
    assert plays(build_again(settings, declared, first, tmp_path / "again.parquet")) == [5, 5]
    first.write_text(first.read_text().replace('"version": 1\n', '"version": 9\n'))
    with pytest.raises(InputError, match="has no version 9"):
        build_again(settings, declared, first, tmp_path / "again.parquet")


def test_a_spine_says_what_was_known(settings: Settings, lake: Path, tmp_path: Path) -> None:
    declared = declared_for("listener")
    apply(settings, declared)
    write_rows(lake, declared.plan("listener"), [row(NOON, 7)], name="part-1", created=NOON + HOUR)
    known = pa.array([at(NOON), at(NOON + HOUR), None], pa.timestamp("us", "UTC"))
    spine = spine_file(tmp_path, NOON, NOON, NOON, known_at=known)
    made = build_training_set(settings, declared, "small_v2", spine, tmp_path / "set.parquet")
    assert plays(made) == [1, 7, 7]
    assert pq.read_table(made.output)["known_at"].to_pylist() == known.to_pylist()
    days = declared_for("track_daily")
    apply(settings, days)
    with pytest.raises(UnsupportedError, match="'known_at': days of 'track_daily' do not say when they were known"):
        build_training_set(settings, days, "small_v2", spine, tmp_path / "days.parquet")
