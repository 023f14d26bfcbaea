"""How much to measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """Sizes of the suites.

    Attributes:
        events: of `stream`: about so many for the speed job and for scan and decode, warm-up included.
        keyed_python_events: of `stream`: the same for the keyed Python job, which is slow.
        live_seconds: of `stream`: how long latency is measured, after the warm-up.
        backfill_events: of `backfill`.
        asof_rows: of `asof`: rows of the spine; each view has four times as many.
        serving_tracks: of `serving`: so many tracks, and a fifth as many listeners and artists.
        serving_requests: of `serving`: requests in one process, of each variant; of Feast's fewer.
        serving_seconds: of `serving`: how long each server is asked.
    """

    events: int = 600_000
    keyed_python_events: int = 20_000
    live_seconds: int = 60
    backfill_events: int = 1_000_000
    asof_rows: int = 1_000_000
    serving_tracks: int = 3_000
    serving_requests: int = 1_000
    serving_seconds: int = 20
