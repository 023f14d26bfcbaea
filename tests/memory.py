"""A store in memory, for tests of what is made from rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playhead.serving.online import OnlineStore, key_of
from playhead.serving.packed import Packer
from playhead.serving.reading import Group, GroupRows, read_groups


@dataclass
class MemoryRedis:
    """The commands that a reader needs, and how often it asked."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    round_trips: int = 0

    def mget(self, keys: list[bytes]) -> list[bytes | None]:
        self.answer()
        return [self.rows.get(key) for key in keys]

    def ping(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.round_trips += 1

    def put(self, packer: Packer, entity: str, at_ms: int, values: dict[str, Any]) -> None:
        self.rows[key_of(packer.name, entity)] = packer.pack(at_ms, values)

    def read(self, group: Group, entities: list[str], at_ms: int) -> GroupRows:
        """A group's features at a moment."""
        return read_at(OnlineStore(self, "memory"), group, entities, at_ms)


def read_at(store: OnlineStore, group: Group, entities: list[str], at_ms: int) -> GroupRows:
    """A group's features at a moment."""
    (found,), _ = read_groups(store, [(group, entities)], lambda: at_ms / 1_000)
    return found


def values_of(found: GroupRows) -> list[dict[str, Any]]:
    """Feature to value of each entity."""
    columns = {name: column.to_list() for name, column in found.columns.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
