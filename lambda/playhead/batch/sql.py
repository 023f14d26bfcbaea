"""Relations on Spark."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from pyspark.sql import DataFrame, SparkSession


def run(spark: SparkSession, table: ir.Table, **inputs: DataFrame) -> DataFrame:
    """An ibis table as a frame.

    Args:
        spark: the session.
        table: the relation.
        inputs: by name of a table that the relation reads, the frame that it stands for.
    """
    for name, frame in inputs.items():
        frame.createOrReplaceTempView(name)
    return spark.sql(compiled(table))


def compiled(table: ir.Table) -> str:
    """An ibis table as Spark SQL."""
    # Through the backend, not `ibis.to_sql`: that reads options of the backend which only its first use registers.
    return str(ibis.pyspark.compile(table))
