"""The derived table schemas, and the generated code's agreement with the .proto files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ibis
import pyarrow as pa

from playhead.config import PROJECT
from schemas.playback_pb2 import PlaybackEvent
from schemas.tables import (
    event_arrow_schema,
    event_columns,
    event_ibis_schema,
    lake_arrow_schema,
    lake_columns,
    lake_ibis_schema,
)


def test_columns_are_the_fields_of_the_message_in_their_order() -> None:
    assert list(event_columns()) == [field.name for field in PlaybackEvent.DESCRIPTOR.fields]
    assert list(lake_columns()) == [*event_columns(), "kafka_partition", "kafka_offset", "late"]


def test_enums_are_strings_and_times_are_whole_milliseconds() -> None:
    schema = event_arrow_schema()
    assert schema.field("event_type").type == pa.string()
    assert schema.field("event_time_ms").type == pa.int64()
    assert schema.field("ms_played").type == pa.int64()


def test_arrow_and_ibis_say_the_same() -> None:
    assert ibis.Schema.from_pyarrow(event_arrow_schema()) == event_ibis_schema()
    assert ibis.Schema.from_pyarrow(lake_arrow_schema()) == lake_ibis_schema()


def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    protos = sorted(path.relative_to(PROJECT) for path in (PROJECT / "schemas").glob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", f"--python_out={tmp_path}", *map(str, protos)],
        cwd=PROJECT,
        check=True,
    )
    for proto in protos:
        generated = proto.with_name(f"{proto.stem}_pb2.py")
        assert (tmp_path / generated).read_text() == (PROJECT / generated).read_text(), generated
