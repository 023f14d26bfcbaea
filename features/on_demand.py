"""What is computed when it is asked for: of the moment, of what a track is, and of how a track fits its listener.

A change of this file is a new meaning of all these views.
"""

from __future__ import annotations

import math
from datetime import datetime

from features.content import track_item
from playhead.declare import MOMENT, OnDemand

GENRES = ("pop", "rock", "hip-hop", "electronic", "jazz", "classical", "folk", "metal")
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


def _item(tempo: int | None, genre: str | None) -> dict[str, float | int | None]:
    scaled = None if tempo is None else min(1.0, max(0.0, (tempo - SLOWEST) / (FASTEST - SLOWEST)))
    return {"tempo_scaled": scaled, **{_is(name): int(genre == name) for name in GENRES}}


def _is(genre: str) -> str:
    return f"is_{genre.replace('-', '_')}"


item = OnDemand(
    name="item",
    description="What a track is, for a model: tempo between 0 and 1, and a column for each genre.",
    features={"tempo_scaled": "float64", **{_is(name): "int64" for name in GENRES}},
    inputs=("track_item.tempo", "track_item.genre"),
    of=(track_item,),
    function=_item,
)
