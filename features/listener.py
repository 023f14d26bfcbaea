"""What a listener has done lately."""

from ibis import _

from features.entities import (
    ends_play,
    is_audiobook,
    is_complete,
    is_early_skip,
    is_kept,
    is_pause,
    is_play,
    is_podcast,
    is_skip,
    is_song,
    tracks,
    user,
)
from playhead.declare import (
    Count,
    CountDistinct,
    FeatureGroup,
    LastK,
    Mean,
    Ratio,
    SessionStart,
    Sum,
    TopK,
    days,
    latest,
    session,
    sliding,
)

listener = FeatureGroup(
    name="listener",
    description="What a listener did in the last minute, hour and day, and how the last tracks sounded.",
    entity=user,
    enrich=(tracks,),
    features=(
        Count("plays", where=is_play, over=sliding("1m", "1h", "1d")),
        Count("skips", where=is_skip, over=sliding("1h")),
        Count("early_skips", where=is_early_skip, over=sliding("1h")),
        Count("pauses", where=is_pause, over=sliding("1h")),
        Count("completes", where=is_complete, over=sliding("1h")),
        Count("likes", where=_.event_type == "LIKE", over=sliding("1d")),
        Sum("listen_ms", _.ms_played, where=ends_play, over=sliding("1h")),
        Count("ends", where=ends_play, over=sliding("1h")),
        Count("kept_30s", where=is_kept, over=sliding("1h")),
        CountDistinct("artists", _.artist_id, where=is_play, over=sliding("1h")),
        Ratio("skip_rate_1h", "skips_1h", "plays_1h"),
        Ratio("early_skip_rate_1h", "early_skips_1h", "plays_1h"),
        Ratio("completion_rate_1h", "completes_1h", "plays_1h"),
        Ratio("retention_30s_1h", "kept_30s_1h", "ends_1h"),
        LastK("last_5_tracks", _.track_id, k=5, where=is_play),
        LastK("last_20_tracks", _.track_id, k=20, where=is_play),
        Mean("valence", _.track_valence, where=is_play, over=latest(20)),
        Mean("energy", _.track_energy, where=is_play, over=latest(20)),
    ),
)

session_ = FeatureGroup(
    name="session",
    description="The listener's current session.",
    entity=user,
    features=(
        SessionStart("session_start", over=session()),
        Count("session_plays", where=is_play, over=session()),
        Count("session_skips", where=is_skip, over=session()),
        Sum("session_listen_ms", _.ms_played, where=ends_play, over=session()),
    ),
)

listener_daily = FeatureGroup(
    name="listener_daily",
    description="What a listener did in the last weeks, today included, and which genres and artists most.",
    entity=user,
    enrich=(tracks,),
    features=(
        Count("plays", where=is_play, over=days(7, 30)),
        Count("skips", where=is_skip, over=days(7, 30)),
        Sum("listen_ms", _.ms_played, where=ends_play, over=days(7, 30)),
        Count("songs", where=is_play & is_song, over=days(30)),
        Count("podcasts", where=is_play & is_podcast, over=days(30)),
        Count("audiobooks", where=is_play & is_audiobook, over=days(30)),
        Ratio("song_share_30d", "songs_30d", "plays_30d"),
        Ratio("podcast_share_30d", "podcasts_30d", "plays_30d"),
        Ratio("audiobook_share_30d", "audiobooks_30d", "plays_30d"),
        Ratio("skip_rate_30d", "skips_30d", "plays_30d"),
        TopK("top_genres", _.track_genre, k=5, where=is_play, over=days(30)),
        TopK("top_artists", _.artist_id, k=10, where=is_play, over=days(30)),
    ),
)
