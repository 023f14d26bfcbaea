"""The one job: events in; dead letters, master data, sessions and feature rows out."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import EnvironmentSettings, StreamTableEnvironment

from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import Dimension
from playhead.dimensions import together
from playhead.errors import ConfigError
from playhead.plan import SessionPlan, lake_table
from playhead.speed import sinks, sql
from playhead.speed.changelog import EVENTS, ROWTIME, add_group
from playhead.speed.cluster import JOB_NAME
from playhead.speed.source import decoded_rows

log = structlog.get_logger()

_VALID = "valid_events"
_BUFFER_TIMEOUT_MS = 50

TABLE_SETTINGS = {
    "pipeline.name": JOB_NAME,
    "table.local-time-zone": "UTC",
    # Few rows of a key share a second: adding them up before they are sent costs more than it saves.
    "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    # An absent event_id must not be refused by a sink: decoding has already decided what is valid.
    "table.exec.legacy-cast-behaviour": "disabled",
    # The freshest value is at most a second and a half old: Python gets small batches, often.
    "python.fn-execution.bundle.size": "5000",
    "python.fn-execution.bundle.time": "150",
    "python.fn-execution.arrow.batch.size": "5000",
}
"""How the job's SQL is planned and run, wherever it runs."""


def submit(settings: Settings, declarations: Declarations) -> str:
    """Build the job and hand it to the cluster of the Flink configuration in use.

    Returns:
        The job's id.

    Raises:
        ConfigError: more parallel than the events topic has partitions.
    """
    environment = StreamExecutionEnvironment.get_execution_environment()
    _check_parallelism(environment.get_parallelism(), settings.kafka.partitions)
    tables = table_environment(environment)
    inserts = tables.create_statement_set()
    for insert in _inserts(tables, settings, declarations):
        inserts.add_insert_sql(insert)
    inserts.attach_as_datastream()
    client = environment.execute_async(JOB_NAME)
    job_id = str(client.get_job_id())
    log.info("job submitted", job_id=job_id, groups=[p.name for p in declarations.speed_plans])
    return job_id


def table_environment(environment: StreamExecutionEnvironment) -> StreamTableEnvironment:
    """Where the job's SQL is planned and run, by its settings."""
    environment.get_config().enable_object_reuse()
    # A row goes over eight exchanges, and waits at each for a full buffer or for this long.
    environment.set_buffer_timeout(_BUFFER_TIMEOUT_MS)
    tables = StreamTableEnvironment.create(environment, EnvironmentSettings.in_streaming_mode())
    for key, value in TABLE_SETTINGS.items():
        tables.get_config().set(key, value)
    return tables


def _check_parallelism(parallelism: int, partitions: int) -> None:
    """A source without a partition has no watermark, and holds back everybody's."""
    if parallelism > partitions:
        raise ConfigError(
            f"parallelism is {parallelism}, the events topic has {partitions} partitions: no row would come out",
            hint="set flink.parallelism, or `flink run -p`, to kafka.partitions or less",
        )


def _inserts(tables: StreamTableEnvironment, settings: Settings, declarations: Declarations) -> list[str]:
    plans = declarations.speed_plans
    dimensions = together(dimension for plan in plans for dimension in plan.dimensions)
    tables.create_temporary_view("decoded_rows", decoded_rows(tables, settings, dimensions))
    _add_event_views(tables, dimensions)
    inserts = [sinks.dead_letters(tables, settings), sinks.lake_events(tables, settings, _VALID)]
    for plan in plans:
        group = add_group(tables, plan)
        inserts.append(sinks.feature_rows(tables, settings, plan, group.rows))
        inserts.append(sinks.archive(tables, settings, plan, group.rows))
        if isinstance(plan, SessionPlan) and group.closed is not None:
            inserts.append(sinks.closed_sessions(tables, settings, plan, group.closed))
    return inserts


def _add_event_views(tables: StreamTableEnvironment, dimensions: Sequence[Dimension]) -> None:
    """All valid events with their `late` mark, and those of them that windows may count.

    An event behind the watermark is refused here, before its ticks are made: its entry would come too late for its
    window, but its expiry would not, and would take away what was never added.
    """
    columns = ", ".join(map(sql.name, [*lake_table(EVENTS, dimensions).columns, ROWTIME]))
    valid = tables.sql_query(f"SELECT {columns} FROM `decoded_rows` WHERE `reason` IS NULL")
    tables.create_temporary_view(_VALID, valid)
    tables.create_temporary_view(EVENTS, tables.sql_query(f"SELECT {columns} FROM {_VALID} WHERE NOT `late`"))
