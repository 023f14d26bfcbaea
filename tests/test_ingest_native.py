"""Native files: our own field names, sent as they are."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from playhead.errors import InputError
from playhead.ingest.events import Import
from playhead.ingest.native import read_native

EVENT = {
    "event_id": "e1",
    "user_id": "u1",
    "track_id": "t1",
    "event_type": "PLAY",
    "event_time_ms": 1_541_000_000_000,
    "content_type": "SONG",
}


def read(path: Path, *rows: dict[str, Any]) -> Import:
    path.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows))))
    return read_native([path])


def test_rows_are_events_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [EVENT, EVENT | {"event_id": "e0", "event_time_ms": 1, "ms_played": None}]
    assert read(tmp_path / "events.gz", *rows).events == rows


def test_a_row_that_breaks_a_rule_is_left_to_the_speed_job(tmp_path: Path) -> None:
    assert read(tmp_path / "events.gz", {"event_id": "e1"}).events == [{"event_id": "e1"}]


def test_whole_floats_are_integers(tmp_path: Path) -> None:
    (event,) = read(tmp_path / "events.gz", EVENT | {"position_ms": 1.0}).events
    assert type(event["position_ms"]) is int


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"skiped": 1}, "unknown_field"),
        ({"event_type": "SKIPPED"}, "bad_value"),
        ({"event_type": True}, "bad_value"),
        ({"event_time_ms": "now"}, "bad_value"),
        ({"event_time_ms": 1.5}, "bad_value"),
        ({"event_time_ms": 2**63}, "bad_value"),
        ({"user_id": 7}, "bad_value"),
        ({"user_id": ["u1"]}, "bad_value"),
    ],
)
def test_what_the_message_cannot_hold_is_counted_with_line_and_name(
    tmp_path: Path, broken: dict[str, Any], reason: str
) -> None:
    result = read(tmp_path / "events.gz", EVENT, EVENT | broken)
    assert (len(result.events), result.skipped) == (1, {reason: 1})
    assert (result.problems[0].row, next(iter(broken)) in result.problems[0].detail) == (2, True)


def test_a_file_of_another_format_is_refused_with_the_allowed_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"events\.gz:1: unknown_field: got 'ts', allowed: event_id, user_id, .*"):
        read(tmp_path / "events.gz", {"ts": 1, "page": "Home"})
