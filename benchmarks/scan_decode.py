"""A job that only reads and decodes: what any Flink job over these events costs at least."""

from __future__ import annotations

from pyflink.datastream import StreamExecutionEnvironment

from playhead.config import Settings, load_settings
from playhead.declarations import load_declarations
from playhead.speed import sql
from playhead.speed.decode import decoded_columns
from playhead.speed.job import table_environment
from playhead.speed.source import decoded_rows


def submit(settings: Settings) -> None:
    """Send decoded rows nowhere, with the speed job's own source, decoder and settings."""
    tables = table_environment(StreamExecutionEnvironment.get_execution_environment())
    # Registers the view of decoded rows; what it does with them afterwards is in no plan until a sink asks for it.
    dimensions = load_declarations().dimensions
    decoded_rows(tables, settings, dimensions)
    columns = sql.columns(decoded_columns(dimensions))
    tables.execute_sql(f"CREATE TEMPORARY TABLE nowhere ({columns}) WITH ('connector' = 'blackhole')")
    tables.execute_sql("INSERT INTO nowhere SELECT * FROM `decoded`")


if __name__ == "__main__":
    submit(load_settings())
