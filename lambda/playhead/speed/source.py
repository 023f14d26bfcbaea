"""From Kafka records to decoded, de-duplicated rows with an event-time watermark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table
from pyflink.table.udf import udf

from playhead.config import Settings
from playhead.declare import Dimension
from playhead.relations import milliseconds
from playhead.speed import sql
from playhead.speed.cluster import GROUP_ID
from playhead.speed.decode import PASSED, Dimensions, decode_batch, decoded_columns
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER


def decoded_rows(tables: StreamTableEnvironment, settings: Settings, dimensions: Sequence[Dimension]) -> Table:
    """Good and bad rows, each record decoded and enriched once and each event kept once.

    Ends in a barrier (a table to a stream and back): without it the optimiser would run the decoder once for each of
    the branches that follow. Time is declared anew behind it, from the event; the watermark goes through.
    """
    tables.execute_sql(_source_ddl(settings))
    records = tables.sql_query(_records(settings))
    decoder = _decoder(settings.stream.max_message_bytes, Dimensions(settings.lake.absolute(), dimensions))
    tables.create_temporary_view("decoded", records.map(decoder))
    types = decoded_columns(dimensions)
    names = ", ".join(map(sql.name, types))
    # First arrival wins. The row itself is not kept in state, only its key.
    first = (
        f"SELECT {names} FROM (SELECT *, ROW_NUMBER() OVER ("
        "PARTITION BY `event_id`, `bad_partition`, `bad_offset` ORDER BY `arrival`) AS `copy` "
        "FROM (SELECT *, PROCTIME() AS `arrival` FROM `decoded`)) WHERE `copy` = 1"
    )
    with state_ttl(tables, settings.stream.dedupe_ttl):
        return barrier(tables, first, types, "event_time_ms")


def barrier(tables: StreamTableEnvironment, query: str, types: dict[str, str], time_column: str) -> Table:
    """The query behind a stream, with `rowtime` from an epoch-millisecond column and the watermark that comes with it.

    Rows may lie ahead of the watermark: the operators behind hold them until it comes.
    """
    # A small literal is an INT to Flink, whatever the plan says, and the stream's schema is not checked against it.
    casts = ", ".join(f"CAST({sql.name(c)} AS {kind}) AS {sql.name(c)}" for c, kind in types.items())
    table = tables.sql_query(f"SELECT {casts} FROM ({query})")
    # Other columns are the stream's, and so is their nullability: a sum of what is never null needs no count beside it.
    schema = Schema.new_builder()
    schema.column_by_expression("rowtime", f"TO_TIMESTAMP_LTZ(COALESCE({sql.name(time_column)}, 0), 3)")
    schema.watermark("rowtime", "SOURCE_WATERMARK()")
    return _through_stream(tables, table, schema.build())


def _through_stream(tables: StreamTableEnvironment, table: Table, schema: Schema) -> Table:
    """As `from_data_stream(to_data_stream(table), schema)`, but in Flink's own row format.

    PyFlink's own calls go through `Row`: every field of every row is converted on the way out, and once more for each
    branch on the way in. Java's take the format as part of the type.
    """
    row_data = get_gateway().jvm.Class.forName("org.apache.flink.table.data.RowData")
    kind = table._j_table.getResolvedSchema().toPhysicalRowDataType().bridgedTo(row_data)
    stream = tables._j_tenv.toDataStream(table._j_table, kind)
    return Table(tables._j_tenv.fromDataStream(stream, schema._j_schema), tables)


def _records(settings: Settings) -> str:
    """The columns of `PASSED` of every record but heartbeats.

    `behind_ms`: the newest time in the record's partition, less the allowed lateness; an event up to there is late. Not
    read off the watermark, which is never ahead of it: that is gone after a restart, when Flink's windows still know
    what they have closed. They would then drop an old event's entry and count its expiry.
    """
    known = "CASE WHEN `record_ms` <= `latest_ms` THEN `record_ms` ELSE 0 END"
    newest = f"MAX({known}) OVER (PARTITION BY `kafka_partition` ORDER BY `arrival`)"
    return (
        f"SELECT {', '.join(map(sql.name, PASSED))} FROM ("
        f"SELECT *, {newest} - {milliseconds(settings.stream.allowed_lateness)} AS `behind_ms` FROM ("
        "SELECT *, EXTRACT(EPOCH FROM `record_time`) * 1000 + EXTRACT(MILLISECOND FROM `record_time`) AS `record_ms`, "
        "PROCTIME() AS `arrival` FROM kafka_events)) "
        f"WHERE `payload` IS NOT NULL OR `headers`[{sql.text(HEARTBEAT_HEADER)}] IS NULL"
    )


@contextlib.contextmanager
def state_ttl(tables: StreamTableEnvironment, ttl: timedelta) -> Iterator[None]:
    """State upstream of a barrier made within expires so long after its last use, by the clock; other state is kept.

    Flink reads `table.exec.state.ttl` when it translates, and a barrier translates all that is upstream of it.
    """
    config = tables.get_config()
    config.set("table.exec.state.ttl", f"{milliseconds(ttl)} ms")
    try:
        yield
    finally:
        config.set("table.exec.state.ttl", "0 ms")


def _source_ddl(settings: Settings) -> str:
    stream, kafka = settings.stream, settings.kafka
    skew = milliseconds(stream.clock_skew)
    # What is no number is no clock: any client can send any header.
    clock = f"TRY_CAST(DECODE(`headers`[{sql.text(CLOCK_HEADER)}], 'UTF-8') AS BIGINT)"
    options = {
        "connector": "kafka",
        "topic": kafka.events_topic,
        "format": "raw",
        # For a job without state: what an earlier one's checkpoints covered is in the lake already.
        "scan.startup.mode": "group-offsets",
        "properties.auto.offset.reset": "earliest",
        "properties.group.id": GROUP_ID,
        "properties.isolation.level": "read_committed",
    } | {f"properties.{k}": v for k, v in kafka.jvm_client().items()}
    # One client with a clock years ahead must not make everybody else late: its time is null, which Flink ignores.
    return f"""
        CREATE TEMPORARY TABLE kafka_events (
            `payload` BYTES,
            `record_time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
            `kafka_partition` INT METADATA FROM 'partition',
            `kafka_offset` BIGINT METADATA FROM 'offset',
            `headers` MAP<STRING, BYTES> METADATA FROM 'headers',
            `latest_ms` AS COALESCE({clock}, UNIX_TIMESTAMP() * 1000) + {skew},
            WATERMARK FOR `record_time` AS CASE
                WHEN `record_time` > TO_TIMESTAMP_LTZ(COALESCE({clock}, UNIX_TIMESTAMP() * 1000) + {skew}, 3)
                THEN CAST(NULL AS TIMESTAMP_LTZ(3))
                ELSE `record_time` - {sql.interval(stream.allowed_lateness)} END
        ) WITH ({sql.options(options)})"""


def _decoder(max_bytes: int, dimensions: Dimensions) -> Any:
    types = decoded_columns(dimensions.all)
    row = DataTypes.ROW([DataTypes.FIELD(name, getattr(DataTypes, kind)()) for name, kind in types.items()])

    def decode(records: Any) -> Any:
        return decode_batch(records, max_bytes, dimensions)

    return udf(decode, result_type=row, func_type="pandas")
