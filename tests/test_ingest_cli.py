"""`playhead replay`: wrong uses are told before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from playhead.cli import app
from playhead.errors import InputError, UnknownName


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["log.jsonl"], "--format is needed: native, eventsim or spotify"),
        (["--format", "native"], "give event files, or --generate"),
        (["--generate", "log.jsonl"], "no FILE and no --format"),
        (["--generate", "--format", "native"], "no FILE and no --format"),
        (["log.jsonl", "--format", "native", "--out-of-order", "0.1"], "--out-of-order: only with --generate"),
        (["log.jsonl", "--format", "native", "--truth", "truth"], "--truth: only with --generate"),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["replay", *arguments])
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


def test_a_wrong_file_or_format_is_found_before_kafka_is_asked(tmp_path: Path) -> None:
    place = ["--home", str(tmp_path)]
    absent = CliRunner().invoke(app, ["replay", "absent.jsonl", "--format", "native", *place])
    assert isinstance(absent.exception, InputError)
    unknown = CliRunner().invoke(app, ["replay", "absent.jsonl", "--format", "natve", *place])
    assert isinstance(unknown.exception, UnknownName)


def test_help_shows_how_each_format_is_replayed() -> None:
    text = CliRunner().invoke(app, ["replay", "--help"]).output
    for example in ("--format native", "--format eventsim --speedup 600", "--format spotify --user me", "--generate"):
        assert example in text
