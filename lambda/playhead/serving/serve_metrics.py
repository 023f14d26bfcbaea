"""What Prometheus sees of a feature server: of one process, or of all workers."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class ServerMetrics:
    """The metrics of a process.

    Args:
        counted: the registry that they are counted in.
        folder: where prometheus_client keeps the counts of all workers (PROMETHEUS_MULTIPROC_DIR, set before it is
            imported); None: this process is the only one.
    """

    def __init__(self, counted: CollectorRegistry, folder: Path | None = None) -> None:
        self.counted = registry = counted
        self._folder = folder
        name = "playhead_serve"
        self.starts = Counter(f"{name}_starts", "Processes that began to serve, restarts too", registry=registry)
        self.requests = Counter(f"{name}_requests", "Requests by outcome", ["outcome"], registry=registry)
        self.seconds = Histogram(
            f"{name}_seconds", "From the request to its vectors", buckets=_LATENCY_BUCKETS, registry=registry
        )
        self.rows = Counter(f"{name}_rows", "Entities asked for, by status", ["view", "status"], registry=registry)
        self.fallbacks = Counter(f"{name}_fallbacks", "Answers without the store", ["reason"], registry=registry)
        self.candidates = Counter(f"{name}_candidates", "Lists of candidates by source", ["source"], registry=registry)
        self.breaker_open = Gauge(
            f"{name}_breaker_open",
            "Processes that do not ask",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.counted if self._folder is None else of_all_workers(self._folder))


def of_all_workers(folder: Path) -> CollectorRegistry:
    """A registry that adds up what workers have counted, those that have ended too."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry


def by_label(registry: CollectorRegistry, counter: str, label: str) -> dict[str, int]:
    """A counter's label to its count, e.g. `("playhead_serve_requests", "outcome")`."""
    found: dict[str, int] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name == f"{counter}_total":
                found[sample.labels[label]] = int(sample.value)
    return found
