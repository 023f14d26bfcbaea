"""playhead: real-time and daily features over playback events, from one declaration."""
