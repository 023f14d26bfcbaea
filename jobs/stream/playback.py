"""The speed job, for `flink run -py jobs/stream/playback.py` on any cluster.

Settings come from the file that PLAYHEAD_CONFIG names and from PLAYHEAD_* variables, as everywhere.
"""

from playhead.config import load_settings
from playhead.declarations import load_declarations
from playhead.speed.job import submit

if __name__ == "__main__":
    submit(load_settings(), load_declarations())
