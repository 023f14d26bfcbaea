"""Bring up, take down and look, with small stand-ins for the servers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from playhead import stack
from playhead.config import LOCALHOST, FlinkSettings, KafkaSettings, RedisSettings, Settings
from playhead.errors import ConfigError, DependencyError, StackError, UnknownName
from playhead.stack.ports import Port
from playhead.stack.process import Command, Slot
from playhead.stack.server import Server, Unanswered
from playhead.stack.supervisor import bring_up, look, take_down
from tests.polling import eventually

Make = Callable[..., Server]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make(home: Path) -> Iterator[Make]:
    """Make servers that answer while the file `NAME.answers` is there, which their script touches."""
    made: list[Server] = []

    def make(name: str, script: str = "") -> Server:
        answers = home / f"{name}.answers"

        def prepare() -> Command:
            answers.unlink(missing_ok=True)
            return Command(argv=["sh", "-c", script or f"touch '{answers}'; exec sleep 60"], env={})

        def probe(_pid: int | None) -> str:
            if not answers.exists():
                raise Unanswered("does not answer: silence")
            return "hello"

        made.append(Server(name=name, address="here:1", ports=(), prepare=prepare, probe=probe))
        return made[-1]

    yield make
    take_down(made, home, ignore)


def ignore(_name: str, _event: str) -> None:
    return None


def test_servers_are_started_and_stopped(make: Make, home: Path) -> None:
    servers, events = [make("a"), make("b")], set()
    bring_up(servers, home, lambda name, event: events.add((name, event)))
    assert [(look(s, home).state, look(s, home).detail) for s in servers] == [("running", "hello")] * 2
    assert sorted(take_down(servers, home, ignore)) == ["a", "b"]
    assert [look(s, home).state for s in servers] == ["stopped", "stopped"]
    assert events == {("a", "starting"), ("a", "running"), ("b", "starting"), ("b", "running")}


def test_a_second_up_leaves_what_runs_alone(make: Make, home: Path) -> None:
    server, started = make("a"), []
    bring_up([server], home, ignore)
    before = look(server, home)
    bring_up([server], home, lambda name, event: started.append(event))
    assert look(server, home) == before
    assert started == ["running"]


def test_a_crash_shows_and_up_starts_the_part_again(make: Make, home: Path) -> None:
    crashing, other = make("a"), make("b")
    bring_up([crashing, other], home, ignore)
    before, untouched = look(crashing, home), look(other, home)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    assert eventually(lambda: look(crashing, home).state == "crashed")
    crashed = look(crashing, home)
    assert (crashed.state, crashed.pid, crashed.detail) == ("crashed", None, f"process {before.pid} is gone")
    bring_up([crashing, other], home, ignore)
    assert look(crashing, home).state == "running"
    assert look(crashing, home).pid != before.pid
    assert look(other, home) == untouched


def test_a_process_that_does_not_answer_counts_as_crashed(make: Make, home: Path) -> None:
    server = make("a")
    bring_up([server], home, ignore)
    (home / "a.answers").unlink()
    status = look(server, home)
    assert (status.state, status.detail) == ("crashed", "does not answer: silence")
    assert status.pid is not None


def test_a_part_that_ends_while_it_starts_is_an_error_with_its_last_words(make: Make, home: Path) -> None:
    good, bad = make("good"), make("bad", "echo the disk is full; exit 1")
    with pytest.raises(StackError, match="bad ended while it started\nthe disk is full") as caught:
        bring_up([good, bad], home, ignore)
    assert str(home / "logs" / "bad.log") in str(caught.value.hint)
    assert [look(s, home).state for s in (good, bad)] == ["stopped", "stopped"]


def test_a_failed_up_does_not_stop_what_ran_before(make: Make, home: Path) -> None:
    good, bad = make("good"), make("bad", "exit 1")
    bring_up([good], home, ignore)
    before = look(good, home)
    with pytest.raises(StackError, match="bad ended"):
        bring_up([good, bad], home, ignore)
    assert look(good, home) == before


def test_a_part_that_stays_silent_is_given_up_at_its_deadline(make: Make, home: Path) -> None:
    silent = replace(make("silent", "echo waiting; exec sleep 60"), deadline=timedelta(milliseconds=300))
    with pytest.raises(StackError, match=r"silent did not answer within 0\.3 s: does not answer: silence\nwaiting"):
        bring_up([silent], home, ignore)
    assert look(silent, home).state == "stopped"


def test_what_cannot_be_prepared_stops_the_rest(make: Make, home: Path) -> None:
    def missing() -> Command:
        raise DependencyError("java is not installed")

    good, bad = make("good"), replace(make("bad"), prepare=missing)
    with pytest.raises(DependencyError, match="java"):
        bring_up([good, bad], home, ignore)
    assert look(good, home).state == "stopped"


def test_a_taken_port_starts_nothing(make: Make, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOCALHOST, 0))
        taken.listen()
        port = Port(number=taken.getsockname()[1], setting="kafka.port")
        with pytest.raises(StackError, match=r"kafka\.port"):
            bring_up([make("a"), replace(make("b"), ports=(port,))], home, ignore)
    assert not (home / "logs").exists()


def test_a_part_that_runs_at_another_address_is_not_left_behind(make: Make, home: Path) -> None:
    server = make("a")
    bring_up([server], home, ignore)
    with pytest.raises(StackError, match=r"a runs at here:1 .* the settings say here:2.*down"):
        bring_up([replace(server, address="here:2")], home, ignore)


def test_down_without_a_home_does_nothing(make: Make, home: Path) -> None:
    assert take_down([make("a")], home, ignore) == []
    assert not home.exists()


def test_a_cluster_is_neither_started_nor_stopped(settings: Settings) -> None:
    cluster = settings.model_copy(update={"mode": "cluster"})
    with pytest.raises(ConfigError, match="`up` is for the local stack only"):
        stack.start(cluster)
    with pytest.raises(ConfigError, match="`down` is for the local stack only"):
        stack.stop(cluster)


def test_status_of_a_cluster_asks_its_addresses(settings: Settings) -> None:
    found = stack.status(settings.model_copy(update={"mode": "cluster"}), ["redis", "flink"])
    assert [(each.name, each.state, each.pid, each.log) for each in found] == [
        (name, "crashed", None, None) for name in ("redis", "jobmanager", "taskmanager")
    ]
    assert all("does not answer" in each.detail for each in found)


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("kafka.bootstrap_servers", {"kafka": KafkaSettings(bootstrap_servers="far:9092")}),
        ("kafka.security_protocol", {"kafka": KafkaSettings(security_protocol="SSL")}),
        ("redis.host", {"redis": RedisSettings(host="far")}),
        ("redis.tls", {"redis": RedisSettings(tls=True)}),
        ("flink.host", {"flink": FlinkSettings(host="far")}),
    ],
)
def test_addresses_of_a_cluster_are_refused_in_local_mode(settings: Settings, name: str, section: dict) -> None:
    with pytest.raises(ConfigError, match=name):
        stack.start(settings.model_copy(update=section))


def test_a_home_with_a_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a space"):
        stack.start(Settings(home=tmp_path / "my home"))


def test_an_unknown_part_is_named(settings: Settings) -> None:
    with pytest.raises(UnknownName, match="did you mean 'kafka'"):
        stack.start(settings, ["kafak"])


def test_nothing_started_is_all_stopped(settings: Settings) -> None:
    assert {each.state for each in stack.status(settings)} == {"stopped"}
    assert stack.stop(settings) == []


def test_logs_are_where_the_status_says(make: Make, home: Path) -> None:
    server = make("a", f"echo hello; touch '{home}/a.answers'; exec sleep 60")
    bring_up([server], home, ignore)
    assert look(server, home).log == Slot(name="a", home=home).log
    assert Slot(name="a", home=home).tail() == "hello"
