"""Where a bad record was, which is the identity of its dead letter, and sets of such places."""

from __future__ import annotations

import re
from typing import NamedTuple

from playhead.errors import InputError

_WRITTEN = re.compile(r"(?:(?P<topic>[A-Za-z0-9._-]+)-)?(?P<partition>\d{1,9})[@:](?P<offset>\d{1,18})")
_PAGE = 1_024


class Place(NamedTuple):
    """A record's place.

    >>> str(Place("playback-events", 1, 7))
    'playback-events-1@7'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


def parse_place(text: str, topic: str) -> Place:
    """A place as it is shown, or PARTITION:OFFSET of a topic.

    Raises:
        InputError: it is neither.

    >>> parse_place("playback-events-1@7", "other"), parse_place("1:7", "other")[:2]
    (Place(topic='playback-events', partition=1, offset=7), ('other', 1))
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise InputError(f"place {text!r}: expected PARTITION:OFFSET or TOPIC-PARTITION@OFFSET", hint="such as 1:7")
    return Place(found["topic"] or topic, int(found["partition"]), int(found["offset"]))


class Places:
    """A set of places: a bit for each offset, by pages, so that a million neighbours take a quarter of a megabyte.

    >>> places = Places()
    >>> places.add(Place("t", 0, 5)), places.add(Place("t", 0, 5)), Place("t", 0, 5) in places, len(places)
    (True, False, True, 1)
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int, int], int] = {}
        self._size = 0

    def add(self, place: Place) -> bool:
        """Add a place; False when it was there."""
        page, bit = self._address(place)
        held = self._pages.get(page, 0)
        if held & bit:
            return False
        self._pages[page] = held | bit
        self._size += 1
        return True

    def __contains__(self, place: Place) -> bool:
        page, bit = self._address(place)
        return bool(self._pages.get(page, 0) & bit)

    def __len__(self) -> int:
        return self._size

    @staticmethod
    def _address(place: Place) -> tuple[tuple[str, int, int], int]:
        page, within = divmod(place.offset, _PAGE)
        return (place.topic, place.partition, page), 1 << within
