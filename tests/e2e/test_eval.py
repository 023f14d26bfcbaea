"""`playhead eval` on real events: the same file, byte for byte, from every engine and from the naive oracle."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from playhead.config import load_settings
from playhead.evaluate import ENGINES, read_events
from tests.e2e.command import playhead
from tests.e2e.test_demo import EVENTSIM

pytestmark = pytest.mark.e2e
KEYS = ("user_id", "track_id", "artist_id")


@pytest.fixture(scope="module")
def spine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 rows about the listeners, tracks and artists of random events, at their time or somewhat later."""
    if not EVENTSIM.is_file():
        pytest.skip(f"{EVENTSIM} is not here; the variable EVENTSIM says where it is")
    folder = tmp_path_factory.mktemp("eval")
    events = read_events([EVENTSIM], "eventsim", load_settings(folder)).events.to_pylist()
    rng, file = random.Random(7), folder / "spine.csv"
    with file.open("w") as opened:
        rows = csv.writer(opened)
        rows.writerow([*KEYS, "event_timestamp"])
        for event in rng.choices(events, k=1_000):
            later_ms = rng.choice([0, 1_000, 60_000, rng.randrange(3 * 86_400_000)])
            moment = datetime.fromtimestamp((event["event_time_ms"] + later_ms) / 1_000, UTC)
            rows.writerow([*(event[key] for key in KEYS), moment.isoformat()])
    return file


@pytest.fixture(scope="module")
def tracks(spine: Path) -> Path:
    """A catalogue of most tracks of the file, of some with a second version from a moment of the month on."""
    rng, file = random.Random(8), spine.with_name("tracks.csv")
    heard = read_events([EVENTSIM], "eventsim", load_settings(spine.parent)).events["track_id"].unique().to_pylist()
    with file.open("w") as opened:
        rows = csv.writer(opened)
        rows.writerow(["track_id", "artist_id", "genre", "tempo", "valence", "energy", "duration_ms", "valid_from"])
        for track in (track for track in heard if rng.random() < 0.9):
            since = [datetime(2018, 10, 1, tzinfo=UTC), datetime(2018, 11, rng.randrange(1, 31), tzinfo=UTC)]
            for moment in since[: rng.randint(1, 2)]:
                genre = rng.choice(["pop", "jazz", "metal", ""])
                sound = [f"{rng.uniform(60, 200):.1f}", f"{rng.random():.3f}", f"{rng.random():.3f}"]
                rows.writerow([track, "", genre, *sound, 200_000, moment.isoformat()])
    return file


def test_every_engine_gives_the_same_file(spine: Path, tracks: Path, tmp_path: Path) -> None:
    files = {}
    for engine in (*ENGINES, "oracle"):
        output = tmp_path / f"{engine}.parquet"
        given = ["--events", EVENTSIM, "--format", "eventsim", "--spine", spine, "--service", "listener_v1"]
        given += ["--dimension", f"track={tracks}"]
        done = playhead(tmp_path, "eval", *given, "--engine", engine, "--output", output)
        assert done.returncode == 0, done.stderr[-3000:]
        files[engine] = output.read_bytes()
    assert len(files) == 4
    assert len(set(files.values())) == 1, {engine: len(file) for engine, file in files.items()}
    rows = pq.read_table(output)
    for name in ("listener__valence_last_20", "listener_daily__top_genres_30d", "affinity__genre_affinity"):
        assert 500 < rows.num_rows - rows[name].null_count < 1_000, name
