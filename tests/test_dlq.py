"""Dead letters without Kafka: what their bytes hold, what is wrong with them, and which are which."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from playhead.cli import app
from playhead.cli.dlq import _show_letter
from playhead.config import StreamSettings
from playhead.dlq.judge import Judge, check_reasons
from playhead.dlq.letters import UNREADABLE, Letter, Selection, letter_of
from playhead.dlq.places import Place, Places, parse_place
from playhead.dlq.repair import load_repair, repaired
from playhead.dlq.summary import described
from playhead.dlq.wire import MOST_FIELDS, read_fields
from playhead.errors import InputError, UnknownName
from playhead.speed.decode import KEPT_BYTES
from schemas.decode import decode, encode

NOON_MS = 1_541_073_600_000
PLACE = Place("playback-events", 1, 7)
EVENT = {
    "event_id": "e1",
    "user_id": "ü1",
    "track_id": "t1",
    "event_type": "SKIP",
    "event_time_ms": NOON_MS,
    "ms_played": 4_000,
    "content_type": "SONG",
}
JUDGE = Judge(stream=StreamSettings(max_message_bytes=1_000, clock_skew=timedelta(minutes=5)), now_ms=NOON_MS)


def letter(payload: bytes, reason: str = "malformed", **values: Any) -> Letter:
    return Letter(
        **{"reason": reason, "place": PLACE, "payload": payload, "written_ms": NOON_MS, "clock_ms": None} | values
    )


def message(key: Any, value: bytes | None = b"bytes", **values: Any) -> Any:
    """A record of the dead letter topic at 3@9."""
    raw = key if isinstance(key, bytes | None) else json.dumps(key).encode()
    given = {"key": raw, "value": value, "headers": None, "timestamp": (1, NOON_MS)} | values
    at = {"topic": "playback-events.dlq", "partition": 3, "offset": 9}
    return SimpleNamespace(**{name: lambda held=held: held for name, held in (given | at).items()})


SOUND = encode(EVENT)
BYTES = st.one_of(
    st.binary(max_size=40),
    st.integers(0, len(SOUND)).map(lambda end: SOUND[:end]),
    st.tuples(st.integers(0, len(SOUND) - 1), st.integers(1, 255)).map(
        lambda flip: SOUND[: flip[0]] + bytes([SOUND[flip[0]] ^ flip[1]]) + SOUND[flip[0] + 1 :]
    ),
    st.lists(st.sampled_from(b"\x08\x0a\x0b\x0c\x13\x14\x80\xff\x01\x00\x22\x3d\x39\x9b\x9c\x06"), max_size=20).map(
        bytes
    ),
)


@given(BYTES)
@example(b"\xfb\x06" * 100 + b"\xfc\x06" * 100)
@example(b"\xfb\x06" * 101 + b"\xfc\x06" * 101)
@example(b"\x08" + b"\xff" * 9 + b"\x7f")
@example(b"\x08" + b"\x80" * 10 + b"\x01")
@example(b"\x8a" + b"\x80" * 5 + b"\x00\x00")
@example(b"\x0a\xff\xff\xff\xff\x0f")
def test_bytes_can_be_read_to_their_end_where_protobuf_can(payload: bytes) -> None:
    anatomy = read_fields(payload)
    malformed = decode(payload, latest_ms=0, max_bytes=10_000) == "malformed"
    assert (anatomy.problem is not None) == (anatomy.broken_at is not None) == malformed


def test_fields_of_a_sound_message_have_their_names_and_values() -> None:
    anatomy = read_fields(SOUND + encode({"ms_played": -1}))
    assert [(field.name, field.value) for field in anatomy.fields] == [
        ("event_id", "e1"),
        ("user_id", "ü1"),
        ("track_id", "t1"),
        ("event_type", 4),
        ("event_time_ms", NOON_MS),
        ("ms_played", 4_000),
        ("content_type", 1),
        ("ms_played", -1),
    ]
    assert [field.note for field in anatomy.fields if field.note] == ["SKIP", "SONG"]


@pytest.mark.parametrize(
    ("end", "at", "problem"),
    [
        (3, 0, "event_id: 2 bytes are announced, 1 are there"),
        (1, 0, "event_id: the message ends within a number"),
        (len(SOUND) - 1, len(SOUND) - 2, "content_type: the message ends within a number"),
    ],
)
def test_of_a_message_that_is_cut_the_fields_before_are_read(end: int, at: int, problem: str) -> None:
    anatomy = read_fields(SOUND[:end])
    assert (anatomy.broken_at, anatomy.problem) == (at, problem)
    assert [field.at for field in anatomy.fields] == [
        field.at for field in read_fields(SOUND).fields if field.at < end - 1
    ]


@pytest.mark.parametrize(
    ("payload", "field", "problem"),
    [
        (b"\xfa\x3f\x03new", (1023, None, b"new", "not in the schema: skipped"), None),
        (b"\x0d\x01\x02\x03\x04", (1, "event_id", b"\x01\x02\x03\x04", "wire type 5 instead of 2: skipped"), None),
        (b"\x28\x63", (5, "event_type", 99, "not in the enum"), None),
        (b"\x0b\x10\x01\x0c", (1, "event_id", None, "a group: wire type 3 instead of 2: skipped"), None),
        (b"\x0a\x03a\xffb", (1, "event_id", b"a\xffb", "no UTF-8"), "event_id: a text that is not UTF-8"),
    ],
)
def test_what_the_schema_does_not_expect_is_named(payload: bytes, field: tuple[Any, ...], problem: str | None) -> None:
    anatomy = read_fields(payload)
    (found,) = anatomy.fields
    assert (found.number, found.name, found.value, found.note) == field
    assert anatomy.problem == problem


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"\x0f", "7 is no wire type"),
        (b"\x00\x01", "no field has the number 0"),
        (b"\x0c", "event_id: a group ends that did not begin"),
    ],
)
def test_bytes_that_are_no_field_are_explained(payload: bytes, problem: str) -> None:
    anatomy = read_fields(encode({"event_id": "e1"}) + payload)
    assert (anatomy.broken_at, anatomy.problem) == (4, problem)


def test_of_a_million_fields_the_first_are_kept_and_the_rest_is_read() -> None:
    anatomy = read_fields(b"\x28\x01" * 100_000 + b"\x07")
    assert (len(anatomy.fields), anatomy.broken_at) == (MOST_FIELDS, 200_000)


@pytest.mark.parametrize(
    ("payload", "reason", "allowed"),
    [
        (SOUND[:3], "malformed", "a protobuf PlaybackEvent; byte 0: event_id: 2 bytes are announced, 1 are there"),
        (SOUND + bytes(1_000), "too_large", "at most 1,000 bytes (stream.max_message_bytes); it has 1,027"),
        (encode(EVENT | {"user_id": None}), "missing_field:user_id", "user_id must be set on every event"),
        (
            encode(EVENT | {"ms_played": None}),
            "missing_field:ms_played",
            "ms_played must be set on SKIP, COMPLETE, STOP",
        ),
        (
            encode(EVENT | {"content_type": 99}),
            "out_of_range:content_type",
            "content_type: SONG, VIDEO, LIVE, PODCAST_EPISODE, AUDIOBOOK_CHAPTER",
        ),
        (
            encode(EVENT | {"country": "SWE"}),
            "out_of_range:country",
            "country: at most 2 characters, none of them U+001F",
        ),
        (encode(EVENT | {"ms_played": -1}), "out_of_range:ms_played", "ms_played: 0 to 172,800,000"),
        (
            encode(EVENT | {"event_time_ms": NOON_MS + 300_001}),
            "time_out_of_range",
            "event_time_ms after 2000-01-01T00:00:00.000Z, at most 2018-11-01T12:05:00.000Z, stream.clock_skew after "
            "the clock it was judged by",
        ),
    ],
)
def test_a_letter_is_judged_by_todays_rules_and_told_what_is_allowed(payload: bytes, reason: str, allowed: str) -> None:
    told = described(letter(payload), JUDGE, 16)
    assert (told["today"], told["allowed"]) == (reason, allowed)


def test_an_unknown_event_type_is_told_the_known_ones() -> None:
    told = described(letter(encode(EVENT | {"event_type": 99})), JUDGE, 16)
    assert told["today"] == "unknown_event_type"
    assert told["allowed"].startswith("event_type: PLAY, PAUSE,")


def test_an_event_is_judged_by_the_clock_that_it_was_sent_by() -> None:
    """Else it would be valid once its time has come, and would move everyone's watermark."""
    ahead = encode(EVENT | {"event_time_ms": NOON_MS - 1})
    assert not isinstance(JUDGE.judge(letter(ahead), ahead), str)
    assert JUDGE.judge(letter(ahead, clock_ms=NOON_MS - 300_002), ahead) == "time_out_of_range"


def test_a_letter_that_may_be_cut_is_never_valid() -> None:
    judge = Judge(stream=StreamSettings(max_message_bytes=2 * KEPT_BYTES), now_ms=NOON_MS)
    sound = encode(EVENT | {"event_id": "x" * (2 + (KEPT_BYTES - len(SOUND)) % 2)})
    same_again = b"\x28\x04"
    kept = sound + same_again * ((KEPT_BYTES - len(sound)) // 2)
    assert len(kept) == KEPT_BYTES
    assert [isinstance(judge.judge(letter(each), each), str) for each in (kept, kept[:-2])] == [True, False]


def test_what_a_message_holds_is_escaped_and_limited(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;title\x07[red]\u202e\x9b31m" + "x" * 200
    _show_letter(described(letter(encode(EVENT | {"context": evil, "country": "SWE"})), JUDGE, 40), first=True)
    shown = capsys.readouterr().out
    assert all(character.isprintable() for character in shown.replace("\n", ""))
    assert "'\\x1b]0;title\\x07[red]\\u202e\\x9b31m" in shown
    assert f"{len(evil) - 40} more characters" in shown
    assert max(map(len, shown.splitlines())) < 200


def test_a_key_that_is_not_the_jobs_leaves_the_letter_its_own_place() -> None:
    own = Place("playback-events.dlq", 3, 9)
    key = {"reason": "malformed", "topic": "t", "partition": 1, "offset": 7}
    for bad in (None, b"", b"\xff", b"[1]", b"7", key | {"reason": "\x1b[31m"}, key | {"offset": "x"}, {"reason": 1}):
        found = letter_of(message(bad))
        assert (found.reason, found.place) == (UNREADABLE, own), bad
    assert letter_of(message(key)).place == Place("t", 1, 7)


@pytest.mark.parametrize(
    ("headers", "clock_ms"),
    [
        (None, None),
        ([("playhead-clock", b"12")], 12),
        ([("playhead-clock", None)], None),
        ([("playhead-clock", b"x")], None),
    ],
)
def test_a_letter_has_the_clock_of_its_header(headers: Any, clock_ms: int | None) -> None:
    assert letter_of(message(None, headers=headers)).clock_ms == clock_ms


@pytest.mark.parametrize("timestamp", [(0, -1), (1, -1), (1, 2**62)])
def test_a_time_that_is_none_is_null(timestamp: tuple[int, int]) -> None:
    assert letter_of(message(None, None, timestamp=timestamp)).written_ms is None


def test_a_selection_takes_reasons_with_their_fields_and_times_from_since_to_before_until() -> None:
    noon = datetime.fromtimestamp(NOON_MS / 1_000, UTC)
    found = letter(b"", "out_of_range:country")
    second = timedelta(seconds=1)
    assert Selection().takes(found)
    assert Selection(reasons=frozenset({"out_of_range"}), since=noon, until=noon + second).takes(found)
    for other in (
        Selection(reasons=frozenset({"out_of_range:device", "malformed"})),
        Selection(since=noon + second),
        Selection(until=noon),
    ):
        assert not other.takes(found)
    assert not Selection(since=noon).takes(letter(b"", written_ms=None))


def test_a_reason_that_none_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'malformed'"):
        check_reasons(frozenset({"malformd"}))
    result = CliRunner().invoke(app, ["dlq", "list", "--reason", "malformd"])
    assert isinstance(result.exception, UnknownName)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5_000)), max_size=50))
def test_places_are_a_set(offsets: list[tuple[int, int]]) -> None:
    places, expected = Places(), set[Place]()
    for partition, offset in offsets:
        place = Place("t", partition, offset)
        assert (place in places) == (place in expected)
        assert places.add(place) == (place not in expected)
        expected.add(place)
    assert len(places) == len(expected)


@pytest.mark.parametrize("text", ["", "7", "a:b", "1:-7", "t@7", "1:7 ", "a b-1@7"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected PARTITION:OFFSET"):
        parse_place(text, "t")


def test_a_repair_is_a_function_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "fixes.py"
    file.write_text(
        "def right(payload): return payload + b'!'\n"
        "def none(payload): return None\n"
        "def text(payload): return 'text'\n"
        "def fails(payload): raise KeyError('user')\n"
    )
    found = letter(b"x")
    assert repaired(load_repair(f"{file}:right"), found) == b"x!"
    assert repaired(load_repair(f"{file}:none"), found) is None
    with pytest.raises(InputError, match="playback-events-1@7: got str, allowed: bytes or None"):
        repaired(load_repair(f"{file}:text"), found)
    with pytest.raises(InputError, match="playback-events-1@7: KeyError: 'user'"):
        repaired(load_repair(f"{file}:fails"), found)


@pytest.mark.parametrize("name", ["fixes:right", "fixes.py", "fixes.py:nothing", "broken.py:right"])
def test_a_repair_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fixes.py").write_text("")
    Path("broken.py").write_text("1 / 0")
    with pytest.raises(InputError, match=f"repair '{name}'"):
        load_repair(name)
