"""The Kafka broker: one KRaft node on 127.0.0.1, and the topics of the settings."""

from __future__ import annotations

import logging
import subprocess
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from uuid import uuid4

from playhead.config import LOCALHOST, KafkaSettings, Settings
from playhead.errors import ConfigError, StackError
from playhead.stack.jars import jars_of
from playhead.stack.java import find_java
from playhead.stack.ports import Port
from playhead.stack.process import Command
from playhead.stack.server import Server, Unanswered

_LOG4J = Path(__file__).with_name("kafka-log4j2.properties")
_PROBE_SECONDS = 3.0
_TOPIC_SECONDS = 30.0
_LEADER_SECONDS = 0.1
_ANY_MS = 2**63 - 1
_MAX_RECORD_BYTES = 16 * 1024 * 1024


def server(settings: Settings) -> Server:
    """The broker as a part of the stack."""
    kafka = settings.kafka
    return Server(
        name="kafka",
        address=kafka.servers,
        ports=(
            Port(number=kafka.port, setting="kafka.port"),
            Port(number=kafka.controller_port, setting="kafka.controller_port"),
        ),
        prepare=lambda: _prepare(settings),
        probe=lambda _pid: probe(kafka),
        finish=lambda: create_topics(kafka),
    )


def topics(kafka: KafkaSettings) -> tuple[str, ...]:
    """The topics that playhead reads and writes."""
    return (
        kafka.events_topic,
        kafka.dead_letter_topic,
        kafka.replayed_topic,
        kafka.feature_rows_topic,
        kafka.served_topic,
        kafka.retrain_topic,
    )


def probe(kafka: KafkaSettings) -> str:
    """Ask for the cluster's metadata; say how many of our topics there are.

    Raises:
        Unanswered: no broker answers at the address.
    """
    found = _partitions(_admin(kafka), kafka)
    ours = [topic for topic in topics(kafka) if topic in found]
    return f"{len(ours)} of {len(topics(kafka))} topics"


def create_topics(kafka: KafkaSettings) -> tuple[str, ...]:
    """Create the topics that do not exist, with the configured partitions; return their names.

    Raises:
        ConfigError: a topic is there with another number of partitions.
        StackError: the broker refuses, or there is none.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic

    admin = _admin(kafka)
    existing = _partitions(admin, kafka)
    for topic in topics(kafka):
        if existing.get(topic, kafka.partitions) != kafka.partitions:
            raise ConfigError(
                f"topic {topic} has {existing[topic]} partitions, kafka.partitions is {kafka.partitions}",
                hint=f"set kafka.partitions to {existing[topic]}, or start with another --home",
            )
    missing = [topic for topic in topics(kafka) if topic not in existing]
    if missing:
        new = [
            NewTopic(topic, num_partitions=kafka.partitions, replication_factor=-1, config=_config(kafka, topic))
            for topic in missing
        ]
        for topic, created in admin.create_topics(new, operation_timeout=_TOPIC_SECONDS).items():
            try:
                created.result(timeout=_TOPIC_SECONDS)
            except KafkaException as error:
                raise StackError(f"topic {topic} at {kafka.servers} cannot be created: {error}") from error
        _wait_for_leaders(kafka, missing)
    return tuple(missing)


def _config(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    """What differs from the broker's defaults: that a letter was replayed is never forgotten, whatever it retains."""
    return {"cleanup.policy": "compact"} if topic == kafka.replayed_topic else {}


def _wait_for_leaders(kafka: KafkaSettings, names: list[str]) -> None:
    """A topic is there before its partitions answer: for a moment they have no leader.

    A client remembers that there is none, for longer than there is: each look is a new one's.
    """
    from confluent_kafka import KafkaError, KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    not_yet = {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._TIMED_OUT,
        KafkaError._NOENT,  # no partition has a leader yet
        # What the client knew of the leader is newer than what the broker itself has heard by now.
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
    deadline = time.monotonic() + _TOPIC_SECONDS
    asked = {TopicPartition(name, each): OffsetSpec.latest() for name in names for each in range(kafka.partitions)}
    while True:
        # Held until it has answered: its answers never come when it is gone.
        admin = _admin(kafka)
        try:
            for answer in admin.list_offsets(asked, request_timeout=_PROBE_SECONDS).values():
                answer.result()
            return
        except KafkaException as error:
            if error.args[0].code() not in not_yet or time.monotonic() > deadline:
                raise StackError(f"new topics at {kafka.servers} do not answer: {error.args[0].str()}") from error
            time.sleep(_LEADER_SECONDS)


def properties(settings: Settings) -> dict[str, str]:
    """The broker's `server.properties`."""
    kafka = settings.kafka
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOCALHOST}:{kafka.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOCALHOST}:{kafka.port},CONTROLLER://{LOCALHOST}:{kafka.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOCALHOST}:{kafka.port}",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(settings.home / "kafka" / "data"),
        "num.partitions": str(kafka.partitions),
        "auto.create.topics.enable": "false",
        # A message that is far too large must reach the speed job, which dead-letters it.
        "message.max.bytes": str(_MAX_RECORD_BYTES),
        # Record timestamps are event times of any year: take them as they are (by default Kafka refuses those an hour
        # ahead of its clock, and the whole batch with them), and delete or roll nothing because of them.
        "log.message.timestamp.type": "CreateTime",
        "log.message.timestamp.before.max.ms": str(_ANY_MS),
        "log.message.timestamp.after.max.ms": str(_ANY_MS),
        "log.retention.ms": "-1",
        "log.roll.ms": str(_ANY_MS),
        "offsets.retention.minutes": "5256000",
        # One node: nothing is replicated, and no group waits for members that will not come.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # Flink's exactly-once sink asks for an hour.
        "transaction.max.timeout.ms": "3600000",
    }


def _prepare(settings: Settings) -> Command:
    java, jars = find_java(), jars_of(settings, "kafka")
    folder = settings.home / "kafka"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    file = folder / "server.properties"
    # In a properties file a backslash escapes; no other character of a value is special.
    lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in properties(settings).items())
    file.write_text("\n".join(lines) + "\n")
    run = [java, "-cp", ":".join(map(str, jars)), f"-Dlog4j2.configurationFile={_LOG4J}"]
    if not (folder / "data" / "meta.properties").exists():
        _format([*run, "-XX:TieredStopAtLevel=1"], file)
    return Command(argv=[*run, "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "kafka.Kafka", str(file)], env={})


def _format(run: list[str], file: Path) -> None:
    cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    # `--cluster-id=…` because an id may start with a dash.
    command = [*run, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(file)]
    done = subprocess.run(
        [*command, "--ignore-formatted"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StackError(f"Kafka's storage under {file.parent} cannot be formatted:\n{done.stdout}{done.stderr}")


def _admin(kafka: KafkaSettings) -> Any:
    from confluent_kafka.admin import AdminClient

    # Refused connections are what a probe is for; they do not belong in the log.
    quiet = logging.Logger("librdkafka", level=logging.CRITICAL)
    return AdminClient({**kafka.client(), "socket.connection.setup.timeout.ms": 2000}, logger=quiet)


def _partitions(admin: Any, kafka: KafkaSettings) -> dict[str, int]:
    from confluent_kafka import KafkaException

    try:
        metadata = admin.list_topics(timeout=_PROBE_SECONDS)
    except KafkaException as error:
        raise Unanswered(f"Kafka at {kafka.servers} does not answer: {error.args[0].str()}") from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}
