"""The features of this application: declarations only. Add a feature where its group is; it is then everywhere."""

from pathlib import Path

from features.content import artist, artist_daily, track, track_daily, track_item
from features.listener import listener, listener_daily, session_
from features.on_demand import affinity, context, item
from playhead.services import load_services

GROUPS = (listener, session_, track, artist, listener_daily, track_daily, artist_daily, track_item)
ON_DEMAND = (context, item, affinity)

SERVICES = load_services(Path(__file__).with_name("services.yaml"), GROUPS, ON_DEMAND)

QUALITY = Path(__file__).with_name("quality.yaml")
"""What must hold of tables beside what is derived."""
