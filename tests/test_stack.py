"""The real servers: Kafka, Redis and Flink."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from playhead import stack as local_stack
from playhead.config import RedisSettings, Settings
from playhead.errors import ConfigError, StackError
from playhead.stack.flink import flink_command, rest_url
from playhead.stack.kafka import create_topics
from playhead.stack.process import Slot
from tests.polling import PATIENCE, eventually

pytestmark = pytest.mark.stack

NAMES = ("kafka", "redis", "jobmanager", "taskmanager")


def playhead(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-c", "from playhead.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def running_under(home: Path) -> list[int]:
    """Processes whose command line, open log or environment belongs to this home."""
    found = []
    for process in psutil.process_iter(["pid", "environ", "status"]):
        mark = (process.info["environ"] or {}).get("_PLAYHEAD_PART", "")
        if mark.startswith(f"{home}/") and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


def rest(settings: Settings, path: str) -> Any:
    with httpx.Client(trust_env=False) as client:
        return client.get(rest_url(settings.flink) + path).raise_for_status().json()


def test_every_part_answers(stack: Settings) -> None:
    found = local_stack.status(stack)
    assert [(each.name, each.state) for each in found] == [(name, "running") for name in NAMES]
    assert found[0].detail == "6 of 6 topics"


def test_flink_has_one_task_manager_with_the_slots_of_the_settings(stack: Settings) -> None:
    overview = rest(stack, "overview")
    assert overview["taskmanagers"] == 1
    assert overview["slots-total"] == stack.flink.slots


def test_all_listen_on_this_machine_only(stack: Settings) -> None:
    # Flink's reporter binds every address, whatever it is told: so there is none unless a port is set, as it is here.
    assert Settings().flink.metrics_port is None
    assert stack.flink.metrics_port is not None
    reporters = range(stack.flink.metrics_port, stack.flink.metrics_port + 2)
    for each in local_stack.status(stack):
        sockets = psutil.Process(each.pid).net_connections("inet")
        opened = (s.laddr for s in sockets if s.status == psutil.CONN_LISTEN)
        listening = {address.ip for address in opened if address.port not in reporters}
        assert listening
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}, each.name


def test_records_of_any_year_and_of_10_mb_pass_through(stack: Settings) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition

    topic, failures, sent = stack.kafka.served_topic, [], []
    producer = Producer(stack.kafka.client() | {"message.max.bytes": 16_000_000})
    for year, value in ((2018, b"old"), (2099, b"future"), (2024, os.urandom(10_000_000))):
        stamp = (year - 1970) * 31_556_952_000
        sent.append((stamp, value))
        producer.produce(topic, value, partition=0, timestamp=stamp, callback=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures == [None, None, None]

    consumer = Consumer(stack.kafka.client() | {"group.id": "test-stack", "fetch.message.max.bytes": 16_000_000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    received, deadline = [], time.monotonic() + PATIENCE
    while len(received) < len(sent) and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            received.append((message.timestamp()[1], message.value()))
    consumer.close()
    assert received == sent


def test_topics_are_created_once_with_the_partitions_of_the_settings(stack: Settings) -> None:
    assert create_topics(stack.kafka) == ()
    with pytest.raises(ConfigError, match=r"has 4 partitions, kafka\.partitions is 9"):
        create_topics(stack.kafka.model_copy(update={"partitions": 9}))


JOB = """
import sys
import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

@udf(result_type=DataTypes.STRING(), func_type="pandas")
def known(event_type: pd.Series) -> pd.Series:
    from schemas import playback_pb2
    return event_type.map(lambda name: f"{name}={playback_pb2.EventType.Value(name)}")

environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
environment.create_temporary_function("known", known)
environment.execute_sql(
    "CREATE TABLE files (v STRING) WITH ('connector'='filesystem', 'format'='parquet', 'parquet.compression'='ZSTD',"
    f" 'path'='{sys.argv[1]}')"
)
environment.execute_sql("INSERT INTO files SELECT known(v) FROM (VALUES ('PLAY'), ('SKIP')) AS t(v)")
"""


def test_flink_runs_a_job_with_a_python_function_and_writes_parquet(stack: Settings, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "job.py").write_text(JOB)
    command = flink_command(stack, "run", "-d", "-py", str(tmp_path / "job.py"), str(tmp_path / "out"))
    environment = {**os.environ, **command.env}
    done = subprocess.run(command.argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    job = done.stdout.rpartition("JobID ")[2].strip()
    assert eventually(lambda: rest(stack, f"jobs/{job}")["state"] == "FINISHED")
    assert sorted(pq.read_table(tmp_path / "out")["v"].to_pylist()) == ["PLAY=1", "SKIP=4"]


def test_up_twice_a_crash_and_down(settings: Settings) -> None:
    home = settings.home
    try:
        first = playhead("up", "--home", home)
        assert first.returncode == 0, first.stderr
        assert rest_url(settings.flink) in first.stderr
        pids = {each.name: each.pid for each in local_stack.status(settings)}
        assert playhead("up", "--home", home).returncode == 0
        assert {each.name: each.pid for each in local_stack.status(settings)} == pids

        for name in ("redis", "taskmanager"):
            os.kill(pids[name], signal.SIGKILL)
        assert eventually(lambda: len([1 for x in local_stack.status(settings) if x.state == "crashed"]) == 2)
        status = playhead("status", "--home", home, "--json")
        assert status.returncode == 1
        states = {each["name"]: each["state"] for each in json.loads(status.stdout)}
        assert states == {"kafka": "running", "redis": "crashed", "jobmanager": "running", "taskmanager": "crashed"}

        assert playhead("up", "--home", home).returncode == 0
        assert playhead("status", "--home", home).returncode == 0
        again = {each.name: each.pid for each in local_stack.status(settings)}
        assert [name for name in NAMES if again[name] == pids[name]] == ["kafka", "jobmanager"]
    finally:
        down = playhead("down", "--home", home)
    assert down.returncode == 0
    assert running_under(home) == []
    assert {each.state for each in local_stack.status(settings)} == {"stopped"}


def test_redis_takes_credentials_and_keeps_its_data(settings: Settings) -> None:
    from redis import Redis

    given = {"username": "reader", "password": "p w\"'", "port": settings.redis.port}
    secured = settings.model_copy(update={"redis": RedisSettings.model_validate(given)})
    try:
        local_stack.start(secured, ["redis"])
        with Redis(**secured.redis.client()) as client:
            client.set("k", "v")
        assert local_stack.status(settings, ["redis"])[0].state == "crashed"
        local_stack.stop(secured)
        local_stack.start(secured, ["redis"])
        with Redis(**secured.redis.client()) as client:
            assert client.get("k") == b"v"
    finally:
        local_stack.stop(secured)


def test_a_broker_that_cannot_start_is_an_error_with_its_log(settings: Settings) -> None:
    (settings.home / "kafka" / "data").mkdir(parents=True)
    (settings.home / "kafka" / "data" / "meta.properties").write_text("version=1\ncluster.id=a\nnode.id=7\n")
    with pytest.raises(StackError, match=r"(?s)kafka ended while it started.*node") as caught:
        local_stack.start(settings, ["kafka"])
    assert str(Slot(name="kafka", home=settings.home).log) in str(caught.value.hint)
    assert running_under(settings.home) == []
