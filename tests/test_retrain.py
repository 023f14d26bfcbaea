"""The retrain trigger: one message for each service, day and reason, on a real broker; and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from playhead import stack as local_stack
from playhead.checks import results
from playhead.checks.drift import Compared, Drift
from playhead.checks.judged import Measurement
from playhead.checks.readings import standings
from playhead.checks.retrain import Due, judge_auc, read_auc, trigger
from playhead.cli import app
from playhead.config import KafkaSettings, Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError, StackError
from playhead.serving.served_table import served_schema
from playhead.serving.topic import open_topic
from tests.conftest import settings_on_free_ports

pytestmark = pytest.mark.stack

DAY = date(2025, 3, 9)
NOW = datetime(2025, 3, 10, 6, tzinfo=UTC)
SERVICE = "listener_v1"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a home whose Kafka runs."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("retrain") / "home")
    try:
        local_stack.start(settings, ("kafka",))
        yield settings
    finally:
        local_stack.stop(settings)


@pytest.fixture
def own(broker: Settings, tmp_path: Path) -> Settings:
    """The broker, with a lake of this test's own."""
    return broker.model_copy(update={"lake_path": tmp_path / "lake"})


def messages(settings: Settings, service: str) -> list[dict[str, Any]]:
    """What the topic holds of a service."""
    found: list[Any] = []
    with open_topic(settings.kafka, settings.kafka.retrain_topic, "test-retrain", start={}) as reader:
        while not reader.caught_up:
            found += reader.poll(100, 0.2)
    return [json.loads(each.value()) for each in found if each.key() == service.encode()]


def drift_of(service: str, *subjects: str) -> Drift:
    def one(subject: str, ok: bool) -> Compared:
        psi = Measurement(measure="psi", value=0.1 if ok else 0.5, allowed=0.2, ok=ok, detail="0: 1.0%")
        return Compared(service=service, day=DAY, subject=subject, rows=9, measured=(psi,))

    return Drift((one("listener__skips_1h", True), *(one(subject, False) for subject in subjects)))


def test_each_reason_is_told_once(own: Settings) -> None:
    first = trigger(own, drift_of("once_v1", "listener__plays_1h"), now=NOW)
    again = trigger(own, drift_of("once_v1", "listener__plays_1h"), now=NOW)
    more = trigger(own, drift_of("once_v1", "listener__plays_1h", "track__plays_1h"), now=NOW)
    assert [(due.service, due.day, len(due.reasons)) for due in (*first, *again, *more)] == [
        ("once_v1", DAY, 1),
        ("once_v1", DAY, 1),
        ("once_v1", DAY, 2),
    ]
    told = {each["id"]: each for each in messages(own, "once_v1")}
    assert [*told] and {first[0].sent, more[0].sent} == {*told}
    assert again[0].sent is None
    assert told[first[0].sent] == {
        "id": first[0].sent,
        "service": "once_v1",
        "day": "2025-03-09",
        "at": "2025-03-10T06:00:00.000+00:00",
        "reasons": [
            {"subject": "listener__plays_1h", "measure": "psi", "value": 0.5, "allowed": 0.2, "detail": "0: 1.0%"}
        ],
    }
    assert [reason["subject"] for reason in told[more[0].sent]["reasons"]] == ["track__plays_1h"]
    saved = results.load(own, "retrain")
    assert saved is not None
    assert [len(each["reasons"]) for each in saved["due"]] == [2]


def test_a_message_whose_sending_was_not_kept_comes_again_with_its_id(own: Settings, tmp_path: Path) -> None:
    elsewhere = own.model_copy(update={"lake_path": tmp_path / "lost"})
    (one,), (two,) = (trigger(each, drift_of("lost_v1", "listener__plays_1h"), now=NOW) for each in (own, elsewhere))
    assert one.sent == two.sent
    assert [each["id"] for each in messages(own, "lost_v1")] == [one.sent] * 2


def test_a_model_that_is_not_good_enough_is_a_reason(own: Settings) -> None:
    good = judge_auc(own, "auc_v1", DAY, 0.66, 0.65, now=NOW)
    assert trigger(own, drift_of("auc_v1"), {"auc_v1": good}, now=NOW) == []
    bad = judge_auc(own, "auc_v1", DAY, 0.61, 0.65, now=NOW + timedelta(hours=1))
    (due,) = trigger(own, drift_of("auc_v1"), {"auc_v1": bad}, now=NOW)
    assert [(each.subject, each.measure, each.value, each.allowed) for each in due.reasons] == [
        ("auc_v1", "auc", 0.61, 0.65)
    ]
    (message,) = messages(own, "auc_v1")
    assert message["reasons"][0]["detail"] == "validation AUC 0.610, at least 0.65"
    (standing,) = standings(own)
    assert (standing.reading.subject, standing.reading.measure, standing.reading.ok) == ("auc_v1", "auc", False)


def test_what_nobody_took_is_not_kept_as_sent(own: Settings, tmp_path: Path) -> None:
    away = own.model_copy(update={"kafka": own.kafka.model_copy(update={"retrain_topic": "absent"})})
    with pytest.raises(StackError, match="topic absent"):
        trigger(away, drift_of("away_v1", "listener__plays_1h"), now=NOW)
    (due,) = trigger(own, drift_of("away_v1", "listener__plays_1h"), now=NOW)
    assert due.sent is not None


def test_the_command_exits_3_when_a_model_has_to_be_trained_again(broker: Settings, tmp_path: Path) -> None:
    schema = served_schema(load_declarations().service(SERVICE), load_declarations())
    row = dict.fromkeys(schema.names) | {"request_id": "r", "user_id": "u", "dt": str(DAY)}
    write_deltalake(broker.lake / "served" / SERVICE, pa.Table.from_pylist([row], schema), partition_by=["dt"])
    (tmp_path / "metrics.json").write_text('{"auc": 0.61}')

    def run(*arguments: object) -> Any:
        command = ["check", "retrain", "--service", SERVICE, "--home", str(broker.home), *map(str, arguments)]
        return CliRunner().invoke(app, command)

    due = run("--metrics", tmp_path / "metrics.json", "--min-auc", 0.65, "--json")
    assert due.exit_code == 3, due.output
    assert json.loads(due.stdout[due.stdout.index("{\n") :])["due"][0]["reasons"][0]["measure"] == "auc"
    assert "train again (sent before)" in run("--auc", 0.61, "--min-auc", 0.65).stdout
    assert run("--auc", 0.7, "--min-auc", 0.65).exit_code == 0
    assert len(messages(broker, SERVICE)) == 1
    assert run("--auc", 0.7).exit_code == 2
    assert run("--auc", 0.7, "--metrics", tmp_path / "metrics.json").exit_code == 2


@pytest.mark.parametrize("text", ["", "[0.6]", '{"loss": 1}', '{"auc": true}', '{"auc": 1.5}', '{"auc": "0.6"}'])
def test_metrics_without_an_auc_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=r"m\.json: "):
        read_auc(tmp_path / "m.json")


def test_without_a_reason_no_broker_is_asked(tmp_path: Path) -> None:
    nobody = Settings(home=tmp_path, kafka=KafkaSettings(port=1))
    due: list[Due] = trigger(nobody, drift_of("calm_v1"), now=NOW)
    assert due == []
