"""The generator's tracks: who made them, how they sound, and how popular they are."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

MADE_UP_TRACKS = Path("generated", "tracks.parquet")
"""Where in a home the tracks are written, for the dimension `track` to be loaded from."""

TRACKS_PER_ARTIST = 8
ZIPF_EXPONENT = 0.9
"""Popularity of the track of rank r is in proportion to 1 / r^0.9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One thing that can be played.

    Attributes:
        track_id: `track-00001` is the most popular.
        artist_id: who made it.
        genre: the artist's genre.
        tempo: beats per minute.
        valence: 0 sad … 1 happy.
        energy: 0 calm … 1 loud.
        duration_ms: null for a live stream.
        content_type: a name of the enum `ContentType`.
    """

    track_id: str
    artist_id: str
    genre: str
    tempo: float
    valence: float
    energy: float
    duration_ms: int | None
    content_type: str


@dataclass(frozen=True, slots=True)
class _Genre:
    tempo: float
    valence: float
    energy: float


GENRES = {
    "pop": _Genre(118, 0.62, 0.68),
    "rock": _Genre(124, 0.52, 0.78),
    "hip-hop": _Genre(96, 0.55, 0.66),
    "electronic": _Genre(127, 0.48, 0.80),
    "jazz": _Genre(108, 0.50, 0.38),
    "classical": _Genre(84, 0.32, 0.24),
    "folk": _Genre(102, 0.45, 0.36),
    "metal": _Genre(136, 0.35, 0.92),
}
SECONDS = {
    "SONG": (120, 330),
    "VIDEO": (90, 600),
    "LIVE": None,
    "PODCAST_EPISODE": (900, 3_600),
    "AUDIOBOOK_CHAPTER": (600, 2_400),
}
"""Content type to its shortest and longest duration; a live stream has none."""

CONTENT_WEIGHTS = (86, 4, 2, 5, 3)


class Catalogue:
    """Tracks by rank, and the choice among them by genre and popularity."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tuple(tracks)
        weights = {track.track_id: rank**-ZIPF_EXPONENT for rank, track in enumerate(self.tracks, start=1)}
        shelves = {genre: [t for t in self.tracks if t.genre == genre] for genre in GENRES}
        self._shelves = {
            genre: (shelf, list(accumulate(weights[track.track_id] for track in shelf)))
            for genre, shelf in (shelves | {"": list(self.tracks)}).items()
        }

    def pick(self, rng: random.Random, genre: str = "") -> Track:
        """A track of a genre, or of any: popular ones more often."""
        shelf, upto = self._shelves[genre]
        if not shelf:
            shelf, upto = self._shelves[""]
        return shelf[bisect(upto, rng.random() * upto[-1], hi=len(shelf) - 1)]


def make_catalogue(tracks: int, seed: int) -> Catalogue:
    """Make up `tracks` tracks; the same seed makes the same ones."""
    rng = random.Random(f"{seed}/catalogue")
    artists = [rng.choice(list(GENRES)) for _ in range(max(1, tracks // TRACKS_PER_ARTIST))]
    return Catalogue([_make_track(rng, rank, artists) for rank in range(1, tracks + 1)])


def write_catalogue(catalogue: Catalogue, path: Path) -> None:
    """Write the tracks as Parquet, one row per track: the columns are the fields of `Track`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"str": pa.string(), "float": pa.float64(), "int | None": pa.int64()}
    schema = pa.schema([(name, kinds[str(kind)]) for name, kind in Track.__annotations__.items()])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([asdict(track) for track in catalogue.tracks], schema), path)


def _make_track(rng: random.Random, rank: int, artists: Sequence[str]) -> Track:
    artist = rng.randrange(len(artists))
    genre = artists[artist]
    sound = GENRES[genre]
    content_type = rng.choices(list(SECONDS), CONTENT_WEIGHTS)[0]
    span = SECONDS[content_type]
    return Track(
        track_id=f"track-{rank:05d}",
        artist_id=f"artist-{artist + 1:04d}",
        genre=genre,
        tempo=round(rng.gauss(sound.tempo, 14), 1),
        valence=round(min(1.0, max(0.0, rng.gauss(sound.valence, 0.18))), 3),
        energy=round(min(1.0, max(0.0, rng.gauss(sound.energy, 0.14))), 3),
        duration_ms=None if span is None else rng.randint(span[0] * 1_000, span[1] * 1_000),
        content_type=content_type,
    )
