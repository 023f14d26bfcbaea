"""What is computed when it is asked for: of the moment, of what a track is, and of how a track fits its listener.

A change of this file is a new meaning of all these views.
"""

from __future__ import annotations

import math
from datetime import datetime

from features.content import track_item
from features.listener import listener_daily
from playhead.declare import MOMENT, OnDemand

GENRES = {
    f"is_{genre.replace('-', '_')}": genre
    for genre in ("pop", "rock", "hip-hop", "electronic", "jazz", "classical", "folk", "metal")
}
SLOWEST, FASTEST = 600, 2_000
"""Tempo in tenths of a beat a minute that becomes 0, and that becomes 1."""


def _context(moment: datetime) -> dict[str, float | int]:
    angle = 2 * math.pi * moment.hour / 24
    return {"hour_sin": math.sin(angle), "hour_cos": math.cos(angle), "weekday": moment.isoweekday()}


context = OnDemand(
    name="context",
    description="When it is, in UTC: the hour as a point of the day's circle, and the weekday from 1, Monday.",
    features={"hour_sin": "float64", "hour_cos": "float64", "weekday": "int64"},
    inputs=(MOMENT,),
    function=_context,
)


def _affinity(
    top_genres_30d: list[str] | None, top_artists_30d: list[str] | None, genre: str | None, artist_id: str | None
) -> dict[str, float | None]:
    return {"genre_affinity": _rank(genre, top_genres_30d), "artist_affinity": _rank(artist_id, top_artists_30d)}


def _rank(one: str | None, best: list[str] | None) -> float | None:
    if one is None or best is None:
        return None
    return 1 / (best.index(one) + 1) if one in best else 0.0


affinity = OnDemand(
    name="affinity",
    description="How a track fits its listener: 1 for the most played genre or artist, 1/2 for the next, 0 for others.",
    features={"genre_affinity": "float64", "artist_affinity": "float64"},
    inputs=(
        "listener_daily.top_genres_30d",
        "listener_daily.top_artists_30d",
        "track_item.genre",
        "track_item.artist_id",
    ),
    of=(listener_daily, track_item),
    function=_affinity,
)


def _item(tempo: int | None, genre: str | None) -> dict[str, float | int | None]:
    scaled = None if tempo is None else min(1.0, max(0.0, (tempo - SLOWEST) / (FASTEST - SLOWEST)))
    return {"tempo_scaled": scaled, **{feature: int(genre == own) for feature, own in GENRES.items()}}


item = OnDemand(
    name="item",
    description="What a track is, for a model: tempo between 0 and 1, and a column for each genre.",
    features={"tempo_scaled": "float64", **dict.fromkeys(GENRES, "int64")},
    inputs=("track_item.tempo", "track_item.genre"),
    of=(track_item,),
    function=_item,
)
