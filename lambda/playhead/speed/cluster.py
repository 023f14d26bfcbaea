"""The speed job on its cluster: submit, look, wait, stop. Talks to Flink's REST API; imports no Flink."""

from __future__ import annotations

import functools
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from playhead.config import Settings
from playhead.errors import StackError
from playhead.stack.flink import flink_command, rest_url

log = structlog.get_logger()

JOB_NAME = "playhead"
GROUP_ID = "playhead-speed"
"""Kafka consumer group whose committed offsets show how far a checkpoint has come."""

ENTRY_POINT = Path("jobs/stream/playback.py")
_ALIVE = {"CREATED", "RUNNING", "RESTARTING", "INITIALIZING", "FAILING", "RECONCILING"}
_POLL_SECONDS = 0.2
_KAFKA_SECONDS = 10.0
_NOT_YET = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,
}
"""What a broker that has just started says of a group."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How the speed job is.

    Attributes:
        job_id: Flink's id.
        state: Flink's word: RUNNING, RESTARTING, …
        watermark_ms: how far event time has come in every part of the job, UTC epoch ms; null before the first event.
        checkpoint_ms: when the newest completed checkpoint was started, UTC epoch ms; null before the first.
        restarts: how often it was restored since it was submitted.
        failure: first line of the newest failure; null without one.
    """

    job_id: str
    state: str
    watermark_ms: int | None
    checkpoint_ms: int | None
    restarts: int
    failure: str | None


def start(settings: Settings, *, fresh: bool = False) -> str:
    """Submit the job, from the state it left when it was stopped last; a job that runs already is left alone.

    Args:
        settings: whose cluster.
        fresh: forget that state. Kafka is then read from where the group's offsets are.

    Returns:
        The job's id.

    Raises:
        StackError: the cluster does not answer or refuses the job.
    """
    running = find(settings)
    if running is not None:
        return running.job_id
    state = None if fresh else _last_state(settings)
    from_state = ["-s", state] if state else []
    command = flink_command(settings, "run", "-d", *from_state, "-py", str(settings.project / ENTRY_POINT))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    environment = {**inherited, **command.env, **settings.environment()}
    done = subprocess.run(
        command.argv, env=environment, cwd=settings.project, capture_output=True, text=True, check=False
    )
    found = re.search(r"JobID ([0-9a-f]{32})", done.stdout)
    if done.returncode or found is None:
        raise StackError(f"Flink did not take the job:\n{reason_of(done.stdout + done.stderr)}", hint=_hint(state))
    _remember(settings, job_id=found[1], started_from=state)
    log.info("speed job submitted", job_id=found[1], from_state=state)
    return found[1]


def stop(settings: Settings, *, timeout: timedelta = timedelta(minutes=2)) -> str | None:
    """Stop the job with a savepoint and without draining: a drain would release expiries that still lie ahead.

    Returns:
        Path of the savepoint, from which `start` goes on; None when no job ran.

    Raises:
        StackError: Flink could not take the savepoint; the job then runs on.
    """
    running = find(settings)
    if running is None:
        return None
    job = f"jobs/{running.job_id}"
    folder = (settings.home / "flink" / "savepoints").as_uri() if settings.mode == "local" else None
    request = {"drain": False} | ({"targetDirectory": folder} if folder else {})

    def all_run() -> bool | None:
        tasks = _call(settings, "GET", job)["vertices"]
        return all(task["status"] == "RUNNING" for task in tasks) or None

    # A job that was just submitted is RUNNING before its tasks are, and refuses the savepoint until then.
    _poll(all_run, timeout, "all tasks to run")
    trigger = _call(settings, "POST", f"{job}/stop", request)["request-id"]

    def finished() -> dict[str, Any] | None:
        answer = _call(settings, "GET", f"{job}/savepoints/{trigger}")
        return answer["operation"] if answer["status"]["id"] == "COMPLETED" else None

    operation = _poll(finished, timeout, "the savepoint")
    if "location" not in operation:
        raise StackError(f"savepoint failed: {_first_line(operation['failure-cause']['stack-trace'])}")
    savepoint = str(operation["location"])
    _remember(settings, job_id=running.job_id, savepoint=savepoint)
    log.info("speed job stopped", job_id=running.job_id, savepoint=savepoint)
    return savepoint


def find(settings: Settings) -> JobStatus | None:
    """The running speed job; None when there is none."""
    jobs = _call(settings, "GET", "jobs/overview")["jobs"]
    alive = [job for job in jobs if job["name"] == JOB_NAME and job["state"] in _ALIVE]
    if not alive:
        return None
    newest = max(alive, key=lambda job: job["start-time"])
    job_id = newest["jid"]
    checkpoints = _call(settings, "GET", f"jobs/{job_id}/checkpoints")
    completed = checkpoints["latest"]["completed"]
    failures = _call(settings, "GET", f"jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
    return JobStatus(
        job_id=job_id,
        state=newest["state"],
        watermark_ms=_watermark(settings, job_id),
        checkpoint_ms=completed["trigger_timestamp"] if completed else None,
        restarts=checkpoints["counts"]["restored"],
        failure=_first_line(failures[0]["stacktrace"]) if failures else None,
    )


def wait_until_read(
    settings: Settings,
    event_time_ms: int,
    *,
    timeout: timedelta = timedelta(minutes=5),
    progress: Callable[[JobStatus], None] = lambda _status: None,
) -> JobStatus:
    """Wait until all that the events topic holds now is read, every row up to an event time is out, and a checkpoint
    has made it visible in the lake.

    Args:
        settings: whose cluster.
        event_time_ms: time of the last event, UTC epoch ms. Its own second must have passed too, which the heartbeats
            at the end of a replay see to.
        timeout: how long to wait.
        progress: told how the job is, a few times a second.

    Raises:
        StackError: the job is gone, or the time is up; it says how far the job came.
    """
    reached_at: list[int] = []
    ends = _ends(settings)

    def visible() -> JobStatus | None:
        status = find(settings)
        if status is None:
            raise StackError("the speed job is not running", hint="`playhead stream start`")
        progress(status)
        if status.watermark_ms is None or status.watermark_ms < event_time_ms // 1000 * 1000 + 1000:
            return None
        if not _covers(settings, ends):
            return None
        if not reached_at:
            reached_at.append(round(time.time() * 1000))
        return status if (status.checkpoint_ms or 0) > reached_at[0] else None

    status: JobStatus = _poll(visible, timeout, f"event time {event_time_ms}")
    return status


def _watermark(settings: Settings, job_id: str) -> int | None:
    """The least watermark of all the job's vertices; sources have none of their own."""
    values: list[int] = []
    for vertex in _call(settings, "GET", f"jobs/{job_id}")["vertices"]:
        found = _call(settings, "GET", f"jobs/{job_id}/vertices/{vertex['id']}/watermarks")
        values += [int(each["value"]) for each in cast("list[dict[str, Any]]", found)]
    return min(values) if values and min(values) > 0 else None


@contextmanager
def _events_topic(settings: Settings) -> Iterator[tuple[Consumer, list[TopicPartition]]]:
    """A consumer in the job's group, and the partitions of the events topic."""
    consumer = Consumer({**settings.kafka.client(), "group.id": GROUP_ID, "enable.auto.commit": False})
    topic = settings.kafka.events_topic
    try:
        known = consumer.list_topics(topic, timeout=_KAFKA_SECONDS).topics[topic].partitions
        yield consumer, [TopicPartition(topic, partition) for partition in sorted(known)]
    except KafkaException as error:
        raise StackError(f"Kafka at {settings.kafka.servers}: {error}", hint="is it up? `playhead status`") from error
    finally:
        consumer.close()


def _ends(settings: Settings) -> list[int]:
    """For each partition of the events topic the offset behind its last record."""
    with _events_topic(settings) as (consumer, partitions):
        return [consumer.get_watermark_offsets(each, timeout=_KAFKA_SECONDS)[1] for each in partitions]


def _covers(settings: Settings, ends: list[int]) -> bool:
    """Whether the job's last checkpoint covers these offsets; a broker that cannot tell yet says no."""
    with _events_topic(settings) as (consumer, partitions):
        try:
            committed = consumer.committed(partitions, timeout=_KAFKA_SECONDS)
        except KafkaException as error:
            if error.args[0].code() in _NOT_YET:
                return False
            raise
        return all(each.offset >= end for each, end in zip(committed, ends, strict=True) if end)


def _call(settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        with httpx.Client(trust_env=False, timeout=30, verify=_tls()) as client:
            answer = client.request(method, rest_url(settings.flink) + path, json=body)
            answer.raise_for_status()
            return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise StackError(f"Flink at {rest_url(settings.flink)}: {error}", hint="is it up? `playhead status`") from error


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than any answer: once, not for each of a job's forty questions."""
    return httpx.create_ssl_context(trust_env=False)


def _poll(look: Callable[[], Any], timeout: timedelta, what: str) -> Any:
    deadline = time.monotonic() + timeout.total_seconds()
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise StackError(f"waited {timeout.total_seconds():.0f} s for {what}", hint="see Flink's web UI and log")
        time.sleep(_POLL_SECONDS)
    return found


def _memory(settings: Settings) -> Path:
    return settings.home / "flink" / "job.json"


def _remember(
    settings: Settings, *, job_id: str, savepoint: str | None = None, started_from: str | None = None
) -> None:
    _memory(settings).parent.mkdir(parents=True, exist_ok=True)
    last = {"job_id": job_id, "savepoint": savepoint, "started_from": started_from}
    _memory(settings).write_text(json.dumps(last))


def _last_state(settings: Settings) -> str | None:
    """Where the last job's state is.

    Its savepoint; of a job that was not stopped the newest checkpoint; before its first one, what it started from.
    """
    if not _memory(settings).is_file():
        return None
    last = json.loads(_memory(settings).read_text())
    if last["savepoint"]:
        return str(last["savepoint"])
    folder = settings.home / "flink" / "checkpoints" / last["job_id"]
    found = sorted(folder.glob("chk-*/_metadata"), key=lambda file: int(file.parent.name.removeprefix("chk-")))
    started_from: str | None = last.get("started_from")
    return found[-1].parent.as_uri() if found else started_from


def reason_of(output: str) -> str:
    """The lines of Flink's output that say why, without the stack."""
    lines = [line for line in output.splitlines() if re.search(r"(Error|Exception|Caused by)\b.*:", line)]
    return "\n".join(dict.fromkeys(lines[:6])) or output[-2000:]


def _first_line(stack: str) -> str:
    return stack.splitlines()[0] if stack else ""


def _hint(state: str | None) -> str:
    if state is None:
        return "is the cluster up? `playhead status`"
    return f"if the features changed, its state in {state} does not fit: `playhead stream start --fresh`"
