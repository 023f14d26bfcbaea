"""The features of this application: declarations only. Add a feature where its group is; it is then everywhere."""

from pathlib import Path

from features.content import artist, artist_daily, track, track_daily
from features.listener import listener, listener_daily, session_
from playhead.services import load_services

GROUPS = (listener, session_, track, artist, listener_daily, track_daily, artist_daily)

SERVICES = load_services(Path(__file__).with_name("services.yaml"), GROUPS)
