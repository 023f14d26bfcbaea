"""The features of this application: declarations only. Add a feature where its group is; it is then everywhere."""

from features.content import artist, artist_daily, track, track_daily
from features.listener import listener, listener_daily, session_
from playhead.declare import FeatureService

GROUPS = (listener, session_, track, artist, listener_daily, track_daily, artist_daily)

SERVICES = (
    FeatureService(name="listener_v1", groups=(listener, session_, track, artist, listener_daily, track_daily)),
)
