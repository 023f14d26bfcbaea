"""What is served when there is nothing better: features without a store, and tracks for whom nobody has chosen any."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

from playhead.serving.online import OnlineStore
from playhead.serving.online_merge import EVERYBODY

TOP_TRACKS = "top_tracks"
"""The name of the lists of the most played tracks: of each listener, and of everybody under the entity ""."""
POOL = "pool"
"""The name of the lists of the most played tracks of each content type."""

Source: TypeAlias = Literal["user_top_tracks", "global_top_tracks", "content_type_pool", "none"]
ListKey: TypeAlias = tuple[str, str]
"""A ranked list in the online store: its name and its entity."""

KEPT = timedelta(minutes=1)
_LISTS = 10_000


class _NothingReadable:
    """A Redis client in whose store every row is damaged."""

    def mget(self, keys: Sequence[bytes]) -> list[bytes]:
        return [b""] * len(keys)


def unreadable_store() -> OnlineStore:
    """A store that has no row that can be read: of it, a service makes its defaults, and nulls.

    An empty store would not do: a row that is missing is an empty window, and counts 0.
    """
    return OnlineStore(_NothingReadable(), "nowhere")


class TrackLists:
    """Ranked lists that were read from the store, so that they are not read for every request.

    Args:
        keep: for how long a list is not read again. It is known longer: until there is no room for it.
        now_s: a clock that never goes back, in seconds.
        room: how many lists are known.
    """

    def __init__(self, keep: timedelta = KEPT, now_s: Callable[[], float] = time.monotonic, room: int = _LISTS) -> None:
        self._keep_s, self._now_s, self._room = keep.total_seconds(), now_s, room
        self._known: dict[ListKey, tuple[float, list[str]]] = {}

    def __getitem__(self, key: ListKey) -> list[str]:
        """The list as it is known; empty when it is not."""
        return self._known[key][1] if key in self._known else []

    def due(self, keys: Collection[ListKey]) -> list[ListKey]:
        """Which of the lists should be read."""
        since_s = self._now_s() - self._keep_s
        return [key for key in keys if key not in self._known or self._known[key][0] <= since_s]

    def learn(self, found: Mapping[ListKey, list[str]]) -> None:
        """Take lists that were read; those that were read longest ago make room for them."""
        for key, tracks in found.items():
            self._known.pop(key, None)
            self._known[key] = (self._now_s(), tracks)
        while len(self._known) > self._room:
            del self._known[next(iter(self._known))]


def read_lists(store: OnlineStore, keys: Collection[ListKey]) -> dict[ListKey, list[str]]:
    """Lists from the store; empty where there is none.

    Raises:
        StackError: the store does not answer.
    """
    return {key: store.read_list(*key) or [] for key in keys}


def lists_for(user_id: str, content_type: str | None) -> dict[Source, ListKey]:
    """Where a listener's candidates may come from, best first."""
    lists: dict[Source, ListKey] = {
        "user_top_tracks": (TOP_TRACKS, user_id),
        "global_top_tracks": (TOP_TRACKS, EVERYBODY),
    }
    return lists if content_type is None else lists | {"content_type_pool": (POOL, content_type)}


def chosen(lists: Mapping[Source, ListKey], known: TrackLists) -> tuple[Source, list[str]]:
    """The first list that has tracks, and these. With a pool, the others are cut to it: it says what is of its type.

    Args:
        lists: from `lists_for`.
        known: what is known of them.
    """
    pool = known[lists["content_type_pool"]] if "content_type_pool" in lists else None
    typed = None if pool is None else {*pool}
    for source, key in lists.items():
        tracks = [track for track in known[key] if typed is None or track in typed]
        if tracks:
            return source, tracks
    return "none", []
