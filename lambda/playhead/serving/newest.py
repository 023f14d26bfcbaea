"""From records of the topic `feature-rows` to what the online store needs: the newest row of each entity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from playhead.errors import InputError
from playhead.serving.packed import Packer


@dataclass
class NewestRows:
    """The newest row of each (group, entity), with its event timestamp; and what became of the other rows."""

    newest: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, value: bytes | None, packers: Mapping[str, Packer]) -> None:
        """Add one record of the topic; a row that cannot be used is counted, with an example of why."""
        try:
            group, entity, event_timestamp_ms, packed = _read(value, packers)
        except _Unusable as reason:
            self.outcomes[reason.outcome] += 1
            self.examples.setdefault(reason.outcome, str(reason))
            return
        key = (group, entity)
        stored = self.newest.get(key)
        if stored is not None:
            self.outcomes["superseded"] += 1
        if stored is None or event_timestamp_ms >= stored[0]:
            self.newest[key] = (event_timestamp_ms, packed)

    def rows(self) -> list[tuple[str, str, bytes]]:
        """What to write: (group, entity, packed row)."""
        return [(group, entity, packed) for (group, entity), (_, packed) in self.newest.items()]


class _Unusable(Exception):  # an outcome that is counted, not an error that reaches the user
    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


def _read(value: bytes | None, packers: Mapping[str, Packer]) -> tuple[str, str, int, bytes]:
    """Group, entity, event timestamp and packed row of one record."""
    try:
        row = orjson.loads(value or b"")
        group, fingerprint, entity = row["group"], row["fingerprint"], row["entity"]
        event_timestamp_ms, values = row["event_timestamp_ms"], row["values"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _Unusable("malformed", f"{type(error).__name__}: {error}") from error
    types = (type(group), type(entity), type(event_timestamp_ms), type(values))
    if types != (str, str, int, dict) or not entity:
        raise _Unusable("malformed", "group, entity, event_timestamp_ms or values has the wrong type")
    packer = packers.get(group)
    if packer is None:
        raise _Unusable("unknown_group", group)
    if fingerprint != packer.fingerprint:
        raise _Unusable("other_fingerprint", f"{group}: {fingerprint}, declared is {packer.fingerprint}")
    try:
        return group, entity, event_timestamp_ms, packer.pack(event_timestamp_ms, values)
    except InputError as error:
        raise _Unusable("bad_value", str(error)) from error
