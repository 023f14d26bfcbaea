"""The containers are told what the local stack is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from playhead.cli import app
from playhead.config import PROJECT, Settings, load_settings
from playhead.stack import flink, kafka, redis

DOCKER = PROJECT / "docker"
# What differs because containers have host names of their own.

ADDRESSES = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    return found


@pytest.fixture
def defaults() -> Settings:
    return Settings(home=Path("/nowhere"))


def overrides(command: list[str]) -> dict[str, str]:
    """Flink's `-D key=value` arguments."""
    words = " ".join(command).split()
    return dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "-D")


def test_the_broker_has_the_rules_of_the_local_one(services: dict[str, Any], defaults: Settings) -> None:
    environment = services["kafka"]["environment"]
    for key, value in kafka.properties(defaults).items():
        if key not in ADDRESSES:
            assert environment["KAFKA_" + key.upper().replace(".", "_")] == value, key


def test_a_host_program_finds_the_broker_at_the_default_port(services: dict[str, Any], defaults: Settings) -> None:
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"HOST://{defaults.kafka.servers}" in advertised


def test_ports_are_the_defaults_and_published_on_this_machine_only(
    services: dict[str, Any], defaults: Settings
) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    wanted = {
        "kafka": defaults.kafka.port,
        "redis": defaults.redis.port,
        "jobmanager": defaults.flink.rest_port,
        "server": defaults.serve.port,
        "prometheus": 9090,
        "grafana": 3000,
    }
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in wanted.items()}


def test_every_service_of_playhead_reads_settings_that_reach_the_others(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = {name: service for name, service in services.items() if service["image"] == "playhead"}
    assert len(ours) == len(services) - len({"kafka", "redis", "prometheus", "pushgateway", "grafana"})
    for name, service in ours.items():
        with monkeypatch.context() as environment:
            for variable, value in service["environment"].items():
                if value is not None:  # passed on from the shell
                    environment.setenv(variable, value)
            settings = load_settings(tmp_path)
        assert settings.mode == "cluster", name
        assert settings.kafka.servers == "kafka:9092", name
        assert settings.redis.host in services
        assert settings.flink.host in services
        assert settings.metrics.pushgateway == "pushgateway:9091"
        assert settings.metrics.writer == f"writer:{settings.serve.writer_metrics_port}"


def test_the_commands_of_the_services_exist(services: dict[str, Any]) -> None:
    commands = [
        service["command"][1:] for service in services.values() if service.get("command", [""])[0] == "playhead"
    ]
    assert commands
    for words in commands:
        command: Any = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, command.name


def test_the_server_listens_beyond_its_container(services: dict[str, Any]) -> None:
    assert services["server"]["environment"]["PLAYHEAD_SERVE__HOST"] == "0.0.0.0"
    assert "PLAYHEAD_SERVE__TOKENS" in services["server"]["environment"]


def test_prometheus_asks_where_somebody_answers(services: dict[str, Any], defaults: Settings) -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())
    [flink_port] = re.findall(r"PLAYHEAD_FLINK__METRICS_PORT=(\d+)", (DOCKER / "Dockerfile").read_text())
    targets = {
        target for job in config["scrape_configs"] for group in job["static_configs"] for target in group["targets"]
    }
    assert targets == {
        f"server:{defaults.serve.port}",
        f"writer:{defaults.serve.writer_metrics_port}",
        f"metrics:{defaults.metrics.port}",
        f"jobmanager:{flink_port}",
        "pushgateway:9091",
    }
    [by_name] = [each for job in config["scrape_configs"] for each in job.get("dns_sd_configs", ())]
    assert (by_name["names"], by_name["port"]) == (["taskmanager"], int(flink_port))
    assert {target.partition(":")[0] for target in targets} <= services.keys()
    for name in ("server", "writer", "metrics"):
        assert services[name]["environment"]["PLAYHEAD_SERVE__HOST"] == "0.0.0.0"


def test_what_containers_are_given_of_this_folder_is_there(services: dict[str, Any]) -> None:
    given = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    own = [path for path in given if path.startswith("./")]
    assert own
    assert all((DOCKER / path).exists() for path in own)


def test_redis_keeps_what_the_local_one_keeps(services: dict[str, Any], defaults: Settings) -> None:
    command = services["redis"]["command"]
    told = {option.removeprefix("--"): value for option, value in zip(command[1::2], command[2::2], strict=True)}
    local = dict(line.split(" ", 1) for line in redis.configuration(defaults))
    for key in ("port", "save", "appendonly"):
        assert told[key] == local[key]


@pytest.mark.parametrize("name", ["jobmanager", "taskmanager"])
def test_flink_is_told_where_its_neighbours_are(services: dict[str, Any], defaults: Settings, name: str) -> None:
    told = overrides(services[name]["command"])
    assert told["jobmanager.rpc.address"] == "jobmanager"
    assert told[f"{name}.bind-host"] == "0.0.0.0"
    # Everything else is the local configuration, which the image is built with: no override may be misspelt.
    assert set(told) <= set(flink.configuration(defaults))


def test_the_state_of_jobs_outlives_the_container(services: dict[str, Any]) -> None:
    told = overrides(services["jobmanager"]["command"])
    assert told["execution.checkpointing.dir"].startswith("file:///var/lib/playhead/")
    for name in ("jobmanager", "taskmanager", "server", "batch"):
        assert services[name]["volumes"] == ["home:/var/lib/playhead"]


def test_the_image_is_made_by_the_same_set_up(services: dict[str, Any]) -> None:
    text = (DOCKER / "Dockerfile").read_text()
    build = services["server"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == (DOCKER / "Dockerfile").resolve()
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((PROJECT / path).exists() for path in copied)
    assert "scripts/setup" in text
    assert json.dumps(["playhead", "--help"]) in text
