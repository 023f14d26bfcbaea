"""What features are about, and the filters that they share."""

from ibis import _

from playhead.declare import Dimension, Entity

user = Entity(name="user", key="user_id")
track = Entity(name="track", key="track_id")
artist = Entity(name="artist", key="artist_id")

tracks = Dimension(
    name="track",
    key="track_id",
    columns={
        "artist_id": "string",
        "genre": "string",
        "tempo": "decimal(1)",
        "valence": "decimal(3)",
        "energy": "decimal(3)",
        "duration_ms": "int64",
    },
)
"""What a track is: beats a minute; valence from 0, sad, to 1, happy; energy from 0, calm, to 1, loud."""

is_play = _.event_type == "PLAY"
is_skip = _.event_type == "SKIP"
is_early_skip = (_.event_type == "SKIP") & (_.ms_played < 5_000)
is_complete = _.event_type == "COMPLETE"
is_pause = _.event_type == "PAUSE"
ends_play = _.event_type.isin(["SKIP", "COMPLETE", "STOP"])
is_kept = ends_play & (_.ms_played >= 30_000)
is_song = _.content_type == "SONG"
is_podcast = _.content_type == "PODCAST_EPISODE"
is_audiobook = _.content_type == "AUDIOBOOK_CHAPTER"
