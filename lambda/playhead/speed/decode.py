"""Decoding in Flink: bytes in, columns or a reason out, for a whole Arrow batch at once.

A Python function, because Flink's own protobuf format either stops the job at a bad message or drops it silently; a
vectorised one, because a call per row costs several times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playhead.declare import Dimension
from playhead.dimensions import Lookup, arrow_schema, lookup_file, sorted_rows
from schemas.decode import decode
from schemas.tables import event_columns

if TYPE_CHECKING:
    import pandas as pd

PASSED = {
    "payload": "BYTES",
    "kafka_partition": "INT",
    "kafka_offset": "BIGINT",
    "latest_ms": "BIGINT",
    "behind_ms": "BIGINT",
}
"""What goes in, by name and SQL type: the record, where it was, the latest event time that is believed, and the latest
that is late."""

KEPT_BYTES = 15_000_000
"""What a dead letter keeps of a larger message: compressed, it may have passed the broker at any size."""

_SQL = {"string": "STRING", "int64": "BIGINT"}


def decoded_columns(dimensions: Sequence[Dimension] = ()) -> dict[str, str]:
    """What comes out, by name and SQL type: the event's columns, `late` and the dimensions' columns, all null when
    `reason` is set.

    `bad_payload`, `bad_partition`, `bad_offset` and `bad_latest_ms` are null on good rows, so that one key, (event_id,
    bad_partition, bad_offset), tells good rows apart by their event and bad ones by their record.
    """
    event = {name: _SQL[kind] for name, kind in event_columns().items()}
    where = {"kafka_partition": "INT", "kafka_offset": "BIGINT", "late": "BOOLEAN"}
    bad = {
        "reason": "STRING",
        "bad_payload": "BYTES",
        "bad_partition": "INT",
        "bad_offset": "BIGINT",
        "bad_latest_ms": "BIGINT",
    }
    known = {name: _SQL[kind] for dimension in dimensions for name, kind in dimension.event_columns.items()}
    return event | where | bad | known


class Dimensions:
    """The dimensions of a lake as they are now: a file that was replaced is opened anew.

    Args:
        lake: its root.
        dimensions: which. One that was never loaded knows nothing.
    """

    def __init__(self, lake: Path, dimensions: Sequence[Dimension]) -> None:
        self.all = tuple(dimensions)
        self._lake = lake
        self._open: dict[str, tuple[tuple[int, int], Lookup]] = {}

    def lookups(self) -> list[Lookup]:
        """A lookup of each."""
        return [self._lookup(dimension) for dimension in self.all]

    def _lookup(self, dimension: Dimension) -> Lookup:
        file = lookup_file(self._lake, dimension)
        try:
            found = file.stat()
        except FileNotFoundError:
            return Lookup(dimension, sorted_rows(dimension, arrow_schema(dimension).empty_table()))
        identity = (found.st_ino, found.st_mtime_ns)
        known = self._open.get(dimension.name)
        if known is None or known[0] != identity:
            known = self._open[dimension.name] = (identity, Lookup.open(dimension, file))
        return known[1]

    def __reduce__(self) -> tuple[type[Dimensions], tuple[Path, tuple[Dimension, ...]]]:
        # To another process goes where the files are, not what is open here.
        return Dimensions, (self._lake, self.all)


def enriched_columns(lookups: Sequence[Lookup], columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The dimensions' columns for a batch of events.

    Args:
        lookups: of the dimensions.
        columns: the events' own, among them the keys and `event_time_ms`; null where there is no event.
    """
    moments_ms = [moment or 0 for moment in columns["event_time_ms"]]
    found: dict[str, Sequence[Any]] = {}
    for lookup in lookups:
        found |= lookup.values(columns[lookup.dimension.key], moments_ms)
    return found


def decode_batch(records: pd.DataFrame, max_bytes: int, dimensions: Dimensions | None = None) -> pd.DataFrame:
    """Decode a batch of Kafka records.

    Args:
        records: the columns of `PASSED`, in their order. A null payload counts as an empty message.
        max_bytes: a longer payload is `too_large`.
        dimensions: what events are enriched with.

    Returns:
        One row per record, in its order, with the columns of `decoded_columns`.
    """
    import pandas as pd

    names = list(decoded_columns())
    nothing = (None,) * len(event_columns())
    event_time = names.index("event_time_ms")
    rows: list[tuple[Any, ...]] = []
    for payload, partition, offset, latest_ms, behind_ms in records.itertuples(index=False, name=None):
        result = decode(payload or b"", latest_ms=latest_ms, max_bytes=max_bytes)
        if isinstance(result, str):
            kept = (payload or b"")[:KEPT_BYTES]
            rows.append((*nothing, partition, offset, None, result, kept, partition, offset, latest_ms))
        else:
            late = result[event_time] <= behind_ms
            rows.append((*result, partition, offset, late, None, None, None, None, None))
    values = zip(*rows, strict=True) if rows else ([] for _ in names)
    columns: dict[str, Sequence[Any]] = dict(zip(names, map(list, values), strict=True))
    if dimensions is not None:
        columns |= enriched_columns(dimensions.lookups(), columns)
    # Object columns: pandas would turn an integer column with nulls into floats, which cannot hold every int64.
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
