"""The serving layer: the packed online store, the writer, the feature server and what it served, on Feast."""

# Feast sets PROMETHEUS_MULTIPROC_DIR when a training set is made, and prometheus_client reads it when it is first
# imported: metrics would then live in files that all registries of the process share.
import prometheus_client as prometheus_client
