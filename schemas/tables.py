"""The events as a table: columns and types derived from the message's descriptor, for Arrow and for ibis.

`event_columns` is what `decode` gives; `lake_columns` is what a file of `lake/events` holds: the same and where the
event came from. The partition columns `dt` and `hour` stand in the path, not in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor

from schemas.playback_pb2 import PlaybackEvent

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa


def event_columns() -> dict[str, str]:
    """Column name to type, `string` or `int64`, in the order of the message's fields. Enums travel by name.

    >>> list(event_columns().items())[:2]
    [('event_id', 'string'), ('user_id', 'string')]
    """
    types = {
        FieldDescriptor.CPPTYPE_STRING: "string",
        FieldDescriptor.CPPTYPE_ENUM: "string",
        FieldDescriptor.CPPTYPE_INT64: "int64",
    }
    return {field.name: types[field.cpp_type] for field in PlaybackEvent.DESCRIPTOR.fields}


def lake_columns() -> dict[str, str]:
    """The columns of a file of `lake/events`: the event's, then its Kafka position and whether it came late."""
    return {**event_columns(), "kafka_partition": "int32", "kafka_offset": "int64", "late": "bool"}


def event_arrow_schema() -> pa.Schema:
    """Arrow schema of decoded events."""
    return _arrow(event_columns())


def lake_arrow_schema() -> pa.Schema:
    """Arrow schema of `lake/events`."""
    return _arrow(lake_columns())


def event_ibis_schema() -> ibis.Schema:
    """ibis schema of decoded events."""
    return _ibis(event_columns())


def lake_ibis_schema() -> ibis.Schema:
    """ibis schema of `lake/events`."""
    return _ibis(lake_columns())


def _arrow(columns: dict[str, str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def _ibis(columns: dict[str, str]) -> ibis.Schema:
    import ibis

    return ibis.schema({name: {"bool": "boolean"}.get(kind, kind) for name, kind in columns.items()})
