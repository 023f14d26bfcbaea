"""The serving layer: the packed online store, the writer, the feature server and what it served, on Feast."""
