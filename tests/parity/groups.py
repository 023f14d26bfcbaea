"""What the parity tests hold the engines to: the application's groups, and for each window one with every aggregate."""

from __future__ import annotations

from ibis import _

import features
from features.entities import ends_play, is_play, is_skip, tracks, user
from playhead.compile import compile_group
from playhead.declare import (
    Count,
    CountDistinct,
    Derived,
    FeatureGroup,
    First,
    Last,
    LastK,
    Max,
    Mean,
    Min,
    Ratio,
    SessionStart,
    Sum,
    TopK,
    days,
    latest,
    lifetime,
    session,
    sliding,
)
from playhead.plan import SessionPlan, SlidingPlan

EVERY_SLIDING = FeatureGroup(
    name="every_sliding",
    entity=user,
    features=(
        Count("plays", where=is_play, over=(*sliding("1m", "1h"), *lifetime())),
        Sum("heard", _.ms_played, where=ends_play, over=(*sliding("1s"), *lifetime())),
        Mean("heard_mean", _.ms_played, where=ends_play, over=(*sliding("1m", "1h"), *lifetime())),
        Min("least", _.ms_played, where=ends_play, over=(*sliding("1s", "1m", "1h"), *lifetime())),
        Max("most", _.ms_played, where=ends_play, over=(*sliding("1m"), *lifetime())),
        First("first_track", _.track_id, where=is_play, over=(*sliding("1h"), *lifetime())),
        Last("last_kind", _.event_type, where=_.event_type.notnull(), over=(*sliding("1m", "1d"), *lifetime())),
        Last("last_ms", _.ms_played, where=ends_play, over=sliding("1m")),
        CountDistinct("tracks", _.track_id, where=is_play, over=(*sliding("1s", "1m", "1h"), *lifetime())),
        CountDistinct("artists", _.artist_id, where=is_skip, over=sliding("1h")),
        Derived("plays_a_track", _.plays_1h / (_.tracks_1h + 1)),
        Derived("spread", _.most_1m - _.least_1m),
        Derived("halves", (_.plays_1h * 2 - 1) / _.least_1m),
        Ratio("spread_a_play", "spread", "plays_1h"),
        Derived("scaled", _.plays_1h * 0.1),
        Derived("many", (_.plays_1h > 2).ifelse(1, 0)),
        Count("long_plays", where=_.ms_played * 0.7 >= 3_499.3, over=sliding("1h")),
        Max("any_early", (_.ms_played < 5_000).ifelse(1, 0), where=ends_play, over=sliding("1h")),
        LastK("last_3", _.track_id, k=3, where=is_play),
    ),
)
ONLY_EXTREMES = FeatureGroup(
    name="only_extremes",
    entity=user,
    features=(Max("longest", _.ms_played, where=ends_play, over=sliding("1m", "1h")),),
)
ONLY_DISTINCT = FeatureGroup(
    name="only_distinct",
    entity=user,
    features=(CountDistinct("heard_ms", _.ms_played, where=ends_play, over=sliding("30s", "1d")),),
)
EVERY_SESSION = FeatureGroup(
    name="every_session",
    entity=user,
    features=(
        SessionStart("start", over=session()),
        Count("plays", where=is_play, over=session()),
        Count("skips", where=is_skip, over=session()),
        Mean("listened", _.ms_played, where=ends_play, over=session()),
        Ratio("skip_rate", "skips", "plays"),
        Derived("listened_a_skip", _.listened / _.skips),
        Min("least", _.ms_played, where=ends_play, over=session()),
        Max("most", _.ms_played, where=ends_play, over=session()),
        First("first_track", _.track_id, where=is_play, over=session()),
        First("first_ms", _.ms_played, where=ends_play, over=session()),
        Last("last_kind", _.event_type, where=_.event_type.notnull(), over=session()),
        CountDistinct("tracks", _.track_id, where=is_play, over=session()),
        CountDistinct("lengths", _.ms_played, where=is_skip, over=session()),
        Derived("plays_a_track", _.plays / _.tracks),
        Ratio("spread", "least", "most"),
    ),
)
EVERY_DAILY = FeatureGroup(
    name="every_daily",
    entity=user,
    features=(
        Count("plays", where=is_play, over=days(1, 7)),
        Sum("listen_ms", _.ms_played, where=ends_play, over=days(7)),
        Mean("listened", _.ms_played, where=ends_play, over=days(7)),
        Derived("ms_a_play_7d", _.listen_ms_7d / _.plays_7d),
        Min("least", _.ms_played, where=ends_play, over=days(1, 7)),
        Max("most", _.ms_played, where=is_skip, over=days(7, 30)),
        Ratio("spread", "least_7d", "most_7d"),
        First("first_track", _.track_id, where=is_play, over=days(1, 7)),
        First("first_ms", _.ms_played, where=ends_play, over=days(7)),
        Last("last_kind", _.event_type, where=_.event_type.notnull(), over=days(1, 7)),
        CountDistinct("tracks", _.track_id, where=is_play, over=days(1, 7)),
        CountDistinct("lengths", _.ms_played, where=ends_play, over=days(7)),
        TopK("top_tracks", _.track_id, k=2, where=is_play, over=days(1, 7)),
        TopK("top_kinds", _.event_type, k=5, where=_.event_type.notnull(), over=days(7)),
        Derived("plays_a_track", _.plays_7d / (_.tracks_7d + 1)),
    ),
)
EVERY_ENRICHED = FeatureGroup(
    name="every_enriched",
    entity=user,
    enrich=(tracks,),
    features=(
        Count("pop", where=is_play & (_.track_genre == "pop"), over=sliding("1m", "1h")),
        Sum("tempo", _.track_tempo, where=is_play, over=(*sliding("1h"), *latest(1, 3))),
        Mean("valence", _.track_valence, where=is_play, over=latest(2, 20)),
        Mean("energy", _.track_energy, where=ends_play, over=(*sliding("1h"), *latest(3))),
        CountDistinct("genres", _.track_genre, where=is_play, over=sliding("1h")),
        Last("last_artist", _.track_artist_id, where=is_play, over=sliding("1d")),
        LastK("last_genres", _.track_genre, k=3, where=is_play),
        LastK("newest_genre", _.track_genre, k=1, where=is_play),
        Ratio("pop_share", "pop_1h", "genres_1h"),
        Derived("valence_scaled", _.valence_last_20 / 1_000),
    ),
)
ENRICHED_SESSION = FeatureGroup(
    name="enriched_session",
    entity=user,
    enrich=(tracks,),
    features=(
        SessionStart("start", over=session()),
        Max("fastest", _.track_tempo, where=is_play, over=session()),
        CountDistinct("genres", _.track_genre, where=is_play, over=session()),
    ),
)
ENRICHED_DAILY = FeatureGroup(
    name="enriched_daily",
    entity=user,
    enrich=(tracks,),
    features=(
        Count("jazz", where=is_play & (_.track_genre == "jazz"), over=days(1, 7)),
        TopK("genres", _.track_genre, k=2, where=is_play, over=days(1, 7)),
        Mean("tempo", _.track_tempo, where=is_play, over=days(7)),
    ),
)
ENRICHED = (EVERY_ENRICHED, ENRICHED_SESSION, ENRICHED_DAILY)

ALL = (*features.GROUPS, EVERY_SLIDING, ONLY_EXTREMES, ONLY_DISTINCT, EVERY_SESSION, EVERY_DAILY, *ENRICHED)
SPEED = [group for group in ALL if isinstance(compile_group(group), SlidingPlan | SessionPlan)]
