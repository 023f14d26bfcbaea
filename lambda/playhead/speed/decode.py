"""Decoding in Flink: bytes in, columns or a reason out, for a whole Arrow batch at once.

A Python function, because Flink's own protobuf format either stops the job at a bad message or drops it silently; a
vectorised one, because a call per row costs several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def decoded_columns() -> dict[str, str]:
    """What comes out, by name and SQL type: the event's columns and `late`, all null when `reason` is set.

    `bad_payload`, `bad_partition` and `bad_offset` are null on good rows, so that one key, (event_id, bad_partition,
    bad_offset), tells good rows apart by their event and bad ones by their record.
    """
    event = {name: _SQL[kind] for name, kind in event_columns().items()}
    where = {"kafka_partition": "INT", "kafka_offset": "BIGINT", "late": "BOOLEAN"}
    return event | where | {"reason": "STRING", "bad_payload": "BYTES", "bad_partition": "INT", "bad_offset": "BIGINT"}


def decode_batch(records: pd.DataFrame, max_bytes: int) -> pd.DataFrame:
    """Decode a batch of Kafka records.

    Args:
        records: the columns of `PASSED`, in their order. A null payload counts as an empty message.
        max_bytes: a longer payload is `too_large`.

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
            rows.append((*nothing, partition, offset, None, result, (payload or b"")[:KEPT_BYTES], partition, offset))
        else:
            late = result[event_time] <= behind_ms
            rows.append((*result, partition, offset, late, None, None, None, None))
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    # Object columns: pandas would turn an integer column with nulls into floats, which cannot hold every int64.
    return pd.DataFrame({n: pd.Series(list(c), dtype=object) for n, c in zip(names, columns, strict=True)})
