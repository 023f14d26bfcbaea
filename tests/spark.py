"""One Spark session for all tests that need one: `from tests.spark import spark`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from playhead.batch.session import spark_session
from playhead.config import Settings

__all__ = ["spark"]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session. While it lives, what calls `spark_session` in this process gets it, whatever its settings."""
    with spark_session(Settings(home=tmp_path_factory.mktemp("spark"))) as session:
        yield session
