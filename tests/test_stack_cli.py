"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from playhead.cli import main
from playhead.config import Settings


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `playhead ARGUMENTS`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["playhead", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_status_exits_1_while_a_part_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    assert run(monkeypatch, "status", "--home", settings.home) == 1
    assert capsys.readouterr().out.count("stopped") == 4


def test_status_as_json_is_a_list_of_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    run(monkeypatch, "status", "--json", "--home", settings.home)
    parts = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in parts] == ["kafka", "redis", "jobmanager", "taskmanager"]
    assert parts[0]["address"] == settings.kafka.servers
    assert parts[0]["state"] == "stopped"
    assert parts[0]["pid"] is None


def test_down_without_a_stack_is_harmless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    assert run(monkeypatch, "down", "--home", settings.home) == 0
    assert "nothing was running" in capsys.readouterr().err


def test_an_error_is_explained_on_stderr_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    assert run(monkeypatch, "up", "--part", "redsi", "--home", settings.home) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-2:] == [
        "UnknownName: unknown part of the stack 'redsi'; known: flink, kafka, redis",
        "hint: did you mean 'redis'?",
    ]


def test_a_wrong_settings_file_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    file = settings.home / "other.toml"
    file.write_text("[kafka]\nprot = 1\n")
    assert run(monkeypatch, "status", "--home", settings.home, "--config", file) == 1
    assert "kafka.prot" in capsys.readouterr().err


def test_a_wrong_use_exits_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "status", "--no-such-option") == 2
    assert run(monkeypatch, "no-such-command") == 2
    assert "No such command" in capsys.readouterr().err


def test_help_is_quick() -> None:
    heavy = "pyflink", "pyspark", "pandas", "feast", "ibis", "confluent_kafka", "redis", "great_expectations", "pyarrow"
    code = f"import sys, time, playhead.cli; print(time.process_time(), [m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cpu_seconds, loaded = done.stdout.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(cpu_seconds) < 5
