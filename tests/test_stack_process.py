"""Processes that outlive their starter: known by pid and birth, stopped with what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from playhead.config import LOCALHOST
from playhead.errors import ConfigError, StackError
from playhead.stack.ports import Port, check_distinct, check_free
from playhead.stack.process import Command, Record, Slot, alive, birth_of
from tests.polling import eventually

PATIENCE = timedelta(seconds=5)


def shell(script: str) -> Command:
    return Command(argv=["sh", "-c", script], env={})


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(name="part", home=tmp_path)


def test_a_process_is_started_stopped_and_forgotten(slot: Slot) -> None:
    record = slot.spawn(shell("exec sleep 60"), "here:1")
    assert alive(record)
    assert slot.read() == record
    assert slot.stop(patience=PATIENCE)
    assert not alive(record)
    assert slot.read() is None
    assert not slot.stop(patience=PATIENCE)


def test_output_goes_to_the_log_and_the_previous_log_is_kept(slot: Slot) -> None:
    for text in ("first", "second"):
        slot.spawn(shell(f"echo {text}; echo more >&2"), "")
        assert eventually(lambda: slot.tail() != "" and "more" in slot.tail())
    assert slot.tail().splitlines() == ["second", "more"]
    assert slot.tail(1) == "more"
    assert slot.log.with_suffix(".log.1").read_text() == "first\nmore\n"


def test_the_environment_is_added_to(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    slot.spawn(Command(argv=["sh", "-c", "echo $INHERITED $GIVEN"], env={"GIVEN": "too"}), "")
    assert eventually(lambda: slot.tail() == "yes too")


def test_a_process_that_ended_is_not_alive_though_nobody_waited_for_it(slot: Slot) -> None:
    record = slot.spawn(shell("exit 3"), "")
    assert eventually(lambda: not alive(record))


def test_a_pid_that_belongs_to_someone_else_now_is_not_killed(slot: Slot) -> None:
    stranger = Slot(name="stranger", home=slot.home / "elsewhere")
    theirs = stranger.spawn(shell("exec sleep 60"), "")
    slot.record_file.parent.mkdir()
    stale = Record(pid=theirs.pid, birth=birth_of(os.getpid()), address="")
    slot.record_file.write_text(json.dumps(asdict(stale)))
    try:
        assert not alive(stale)
        assert not slot.stop(patience=PATIENCE)
        assert alive(theirs)
        assert slot.read() is None
    finally:
        stranger.stop(patience=PATIENCE)


def test_a_process_that_ignores_sigterm_is_killed(slot: Slot) -> None:
    record = slot.spawn(shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"), "")
    assert eventually(lambda: slot.tail() == "ready")
    assert slot.stop(patience=timedelta(milliseconds=200))
    assert not alive(record)


def test_what_a_killed_process_left_behind_is_stopped_too(slot: Slot) -> None:
    record = slot.spawn(shell("sleep 60 & echo $!; wait"), "")
    assert eventually(lambda: slot.tail() != "")
    child = int(slot.tail())
    os.kill(record.pid, signal.SIGKILL)
    assert eventually(lambda: not alive(record))
    assert psutil.pid_exists(child)
    slot.stop(patience=PATIENCE)
    assert eventually(lambda: birth_of(child) is None or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_torn_record_counts_as_none(slot: Slot, text: str) -> None:
    slot.record_file.parent.mkdir()
    slot.record_file.write_text(text)
    assert slot.read() is None


def test_birth_tells_processes_apart_and_ends_with_them(slot: Slot) -> None:
    record = slot.spawn(Command(argv=[sys.executable, "-c", "import time; time.sleep(60)"], env={}), "")
    assert birth_of(record.pid) == record.birth
    assert birth_of(record.pid) != birth_of(os.getpid())
    slot.stop(patience=PATIENCE)
    assert birth_of(record.pid) is None


def test_a_taken_port_is_an_error_that_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind((LOCALHOST, 0))
        taken.listen()
        port = Port(number=taken.getsockname()[1], setting="redis.port")
        with pytest.raises(StackError, match=rf"port {port.number} \(redis.port\)") as caught:
            check_free(port)
    assert "PLAYHEAD_REDIS__PORT" in str(caught.value)
    check_free(port)


def test_two_settings_with_the_same_port_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"kafka\.port and redis\.port are both 7"):
        check_distinct([Port(number=7, setting="kafka.port"), Port(number=7, setting="redis.port")])
