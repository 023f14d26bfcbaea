"""A Spark session with Delta, and the JVM behind it, for as long as a `with` lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway
from pyspark.sql import DataFrame, SparkSession

from playhead.config import LOCALHOST, Settings
from playhead.errors import DependencyError, StackError
from playhead.stack.jars import jars_of
from playhead.stack.java import find_java

log = structlog.get_logger()

_DELTA_CLASS = "io.delta.sql.DeltaSparkSessionExtension"
_STOP_SECONDS = 30.0
# A local run is over before the JVM's second compiler has earned what it costs: a batch day takes half the CPU without.
# With the first alone Java reserves 48 MB for code, which a day and a backfill in one session fill: the JVM then fails.
_LOCAL_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC -XX:MetaspaceSize=192m"


@contextlib.contextmanager
def spark_session(settings: Settings) -> Iterator[SparkSession]:
    """A session of the settings' master.

    The session that is already active in this process is used as it is, and left running. Under `spark-submit` its own
    JVM is used, and what its flags say goes before the settings.

    Yields:
        The session. At the end it is stopped, and its JVM with it. What the JVM writes is in `home/logs/spark.log`.

    Raises:
        DependencyError: Java or Delta's jars are missing.
        StackError: Spark does not start.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    gateway = _launch(settings)
    try:
        yield _start(settings, gateway)
    finally:
        _stop(gateway)


def configuration(settings: Settings) -> dict[str, str]:
    """Spark's configuration: UTC, Delta, everything on this machine's loopback."""
    spark = settings.spark
    return {
        "spark.app.name": "playhead",
        "spark.master": spark.master,
        "spark.driver.memory": spark.driver_memory,
        "spark.driver.extraJavaOptions": _LOCAL_JAVA if spark.master.startswith("local") else "",
        "spark.driver.bindAddress": LOCALHOST,
        "spark.driver.host": LOCALHOST,
        "spark.jars": ",".join(map(str, jars_of(settings, "delta"))),
        "spark.sql.extensions": _DELTA_CLASS,
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(spark.shuffle_partitions),
        "spark.databricks.delta.snapshotPartitions": "2",
        # The speed job leaves a file per hour, or many: this is what Spark reckons each of them to cost.
        "spark.sql.files.openCostInBytes": "262144",
        "spark.sql.warehouse.dir": str(settings.home / "spark" / "warehouse"),
        "spark.local.dir": str(settings.home / "spark" / "tmp"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def _launch(settings: Settings) -> Any:
    """The gateway to a new JVM, or to the one that `spark-submit` has started."""
    find_java()
    conf = SparkConf(loadDefaults=False)
    for key, value in configuration(settings).items():
        conf.set(key, value)
    log_file = settings.home / "logs" / "spark.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    (settings.home / "spark" / "tmp").mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as output, _environment({"SPARK_LOCAL_IP": LOCALHOST}):
        try:
            return launch_gateway(conf, {"stdout": output, "stderr": subprocess.STDOUT})
        except PySparkRuntimeError as error:
            raise StackError(f"Spark's JVM did not start: {_tail(log_file)}", hint=f"see {log_file}") from error


def _start(settings: Settings, gateway: Any) -> SparkSession:
    # Of a JVM, not of Python: it then starts from what spark-submit was given, and the settings fill the gaps.
    conf = SparkConf(_jvm=gateway.jvm)
    for key, value in configuration(settings).items():
        conf.setIfMissing(key, value)
    if not _has_class(gateway.jvm, _DELTA_CLASS):
        jars = ",".join(map(str, jars_of(settings, "delta")))
        raise DependencyError("spark-submit runs without Delta", hint=f"spark-submit --jars {jars} …")
    with _environment({"PYSPARK_PYTHON": sys.executable}):
        session: SparkSession = SparkSession(SparkContext(conf=conf, gateway=gateway))
    session.sparkContext.setLogLevel("WARN")
    log.debug("spark started", version=session.version, master=session.sparkContext.master)
    return session


def _stop(gateway: Any) -> None:
    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
    gateway.shutdown()
    process: subprocess.Popen[bytes] | None = gateway.proc
    if process is None:  # spark-submit's own, which ends with this process
        return
    # PySpark would keep the JVM for the next session until Python ends. It ends when its standard input does.
    SparkContext._gateway = None
    SparkContext._jvm = None
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _has_class(jvm: Any, name: str) -> bool:
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    return loader.getResource(name.replace(".", "/") + ".class") is not None


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that Spark reads from nowhere else, where the caller has not set them; put back at the end."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _tail(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"


@contextlib.contextmanager
def cached(frame: DataFrame) -> Iterator[DataFrame]:
    """A frame that is computed once while the context lasts."""
    kept = frame.persist()
    try:
        yield kept
    finally:
        kept.unpersist()
