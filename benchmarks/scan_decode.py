"""A job that only reads and decodes: what any Flink job over these events costs at least."""

from __future__ import annotations

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import EnvironmentSettings, StreamTableEnvironment

from playhead.config import Settings, load_settings
from playhead.speed import sql
from playhead.speed.decode import decoded_columns
from playhead.speed.job import TABLE_SETTINGS
from playhead.speed.source import decoded_rows


def submit(settings: Settings) -> None:
    """Send decoded rows nowhere, with the speed job's own source, decoder and settings."""
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.get_config().enable_object_reuse()
    tables = StreamTableEnvironment.create(environment, EnvironmentSettings.in_streaming_mode())
    for key, value in TABLE_SETTINGS.items():
        tables.get_config().set(key, value)
    # Registers the view of decoded rows; what it does with them afterwards is in no plan until a sink asks for it.
    decoded_rows(tables, settings)
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE nowhere ({sql.columns(decoded_columns())}) WITH ('connector' = 'blackhole')"
    )
    tables.execute_sql("INSERT INTO nowhere SELECT * FROM `decoded`")


if __name__ == "__main__":
    submit(load_settings())
