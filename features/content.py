"""How tracks and artists are doing."""

from ibis import _

from features.entities import artist as artist_entity
from features.entities import ends_play, is_audiobook, is_play, is_podcast, is_skip, tracks
from features.entities import track as track_entity
from playhead.declare import Attribute, Count, FeatureGroup, Ratio, Sum, days, sliding

track = FeatureGroup(
    name="track",
    description="How often a track is played and skipped now.",
    entity=track_entity,
    features=(
        Count("plays", where=is_play, over=sliding("1m", "1h", "1d")),
        Count("skips", where=is_skip, over=sliding("1h")),
    ),
)

artist = FeatureGroup(
    name="artist",
    description="How often an artist is played now.",
    entity=artist_entity,
    features=(Count("plays", where=is_play, over=sliding("1m", "1h", "1d")),),
)

track_item = FeatureGroup(
    name="track_item",
    description="What a track is, as the catalogue says.",
    entity=track_entity,
    features=(
        Attribute("artist_id", of=tracks),
        Attribute("genre", of=tracks),
        Attribute("tempo", of=tracks),
        Attribute("valence", of=tracks),
        Attribute("energy", of=tracks),
    ),
)

track_daily = FeatureGroup(
    name="track_daily",
    description="How a track did in the last weeks, today included.",
    entity=track_entity,
    features=(
        Count("plays", where=is_play, over=days(7, 30)),
        Count("skips", where=is_skip, over=days(7, 30)),
        Sum("listen_ms", _.ms_played, where=ends_play, over=days(7, 30)),
        Count("episode_plays", where=is_play & (is_podcast | is_audiobook), over=days(14)),
        Ratio("skip_rate_30d", "skips_30d", "plays_30d"),
    ),
)

artist_daily = FeatureGroup(
    name="artist_daily",
    description="How an artist did in the last weeks, today included.",
    entity=artist_entity,
    features=(
        Count("plays", where=is_play, over=days(7, 30)),
        Count("skips", where=is_skip, over=days(7, 30)),
        Sum("listen_ms", _.ms_played, where=ends_play, over=days(7, 30)),
    ),
)
