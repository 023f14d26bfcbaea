"""One Spark session for all tests that need one: `from tests.spark import spark`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from playhead.batch.session import spark_session
from playhead.config import Settings

__all__ = ["small_queries", "spark"]

_SMALL = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "2",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session. While it lives, what calls `spark_session` in this process gets it, whatever its settings."""
    with spark_session(Settings(home=tmp_path_factory.mktemp("spark"))) as session:
        yield session


@pytest.fixture(scope="module", autouse=True)
def small_queries(spark: SparkSession) -> Iterator[None]:
    """For a module of hundreds of queries over a few rows each, where imported: making their Java code, and compiling
    it, takes a third of the time. Parity, the as-of join and the demos run as users do, with it."""
    before = {name: spark.conf.get(name, None) for name in _SMALL}
    for name, value in _SMALL.items():
        spark.conf.set(name, value)
    yield
    for name, was in before.items():
        if was is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, was)
