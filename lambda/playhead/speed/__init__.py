"""The speed layer: one Flink job from playback events to feature rows."""
