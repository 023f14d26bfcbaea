"""The fast path: vectors of a declared service, straight from the online store, for a program that serves a model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from playhead.config import Settings
from playhead.declarations import Declarations, load_declarations
from playhead.serving.fetched import Fetched
from playhead.serving.online import OnlineStore, open_online_store
from playhead.serving.vectors import Asked, VectorService


class OnlineFeatures:
    """Reads vectors. Safe to share between threads.

    Args:
        store: the online store.
        declarations: whose services are read.
        clock_s: wall clock, Unix seconds; another one reads a past that was replayed.
    """

    def __init__(
        self, store: OnlineStore, declarations: Declarations, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._store, self._declarations, self._clock_s = store, declarations, clock_s
        self._services: dict[str, VectorService] = {}

    def fetch(self, service: str, entities: Asked) -> Fetched:
        """The vectors of a service, in one round trip: windows of days merged, derived and on-demand features included.

        Args:
            service: its name, such as `listener_v1`.
            entities: entity key to an entity for all rows, or to one for each, None where it is not known.

        Returns:
            A row for each of the lists' places; see `Fetched.to_arrow`, `Fetched.to_numpy`, `Fetched.status_table`.

        Raises:
            UnknownName: no such service.
            InputError: an entity key that the service does not have, or lists of different lengths.
            StackError: the store does not answer.
        """
        compiled = self._services.get(service)
        if compiled is None:
            compiled = VectorService(self._declarations.service(service), self._declarations)
            self._services[service] = compiled
        return compiled.fetch(self._store, entities, self._clock_s)


@contextlib.contextmanager
def open_online_features(
    settings: Settings, declarations: Declarations | None = None, clock_s: Callable[[], float] = time.time
) -> Iterator[OnlineFeatures]:
    """The fast path over the settings' store; its connections are closed at the end.

        with open_online_features(load_settings()) as online:
            found = online.fetch("listener_v1", {"user_id": "39", "track_id": ["t1", "t2"]})
            scores = model.predict(found.to_numpy(model.features))

    Raises:
        StackError: the store does not answer.
    """
    with open_online_store(settings.redis) as store:
        yield OnlineFeatures(store, declarations or load_declarations(), clock_s)
