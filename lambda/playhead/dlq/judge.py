"""What is wrong with a message by today's rules, and what is allowed, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from playhead.config import StreamSettings
from playhead.dlq.letters import Letter
from playhead.dlq.wire import read_fields
from playhead.errors import UnknownName
from playhead.relations import milliseconds
from schemas.decode import EARLIEST_MS, Row, decode
from schemas.playback_pb2 import PlaybackEvent
from schemas.playhead_options_pb2 import rule

TOO_LARGE = "too_large"
FAMILIES = ("malformed", "missing_field", "out_of_range", "time_out_of_range", TOO_LARGE, "unknown_event_type")
"""Reasons, without the field's name that may follow behind a colon."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges dead letters as the speed job would if they were sent now.

    Attributes:
        stream: the limits.
        now_ms: the clock for letters that do not have their own, UTC epoch ms.
    """

    stream: StreamSettings
    now_ms: int

    def judge(self, letter: Letter, payload: bytes) -> Row | str:
        """The event's row, or the reason why it is none.

        Args:
            letter: whose clock counts: an event that was ahead of the clock when it was sent stays so.
            payload: its bytes, or those that a repair has made of them.
        """
        if letter.may_be_cut and payload == letter.payload:
            # What is missing at the end may be fields: the rest could be another event, and valid.
            return TOO_LARGE
        return decode(payload, latest_ms=self._latest_ms(letter), max_bytes=self.stream.max_message_bytes)

    def allowed(self, letter: Letter, reason: str) -> str:
        """What a reason's rule allows, from the options in `playback.proto` and the settings."""
        family, _, name = reason.partition(":")
        if family == "malformed":
            anatomy = read_fields(letter.payload)
            broken = f"; byte {anatomy.broken_at:,}: {anatomy.problem}" if anatomy.problem else ""
            return f"a protobuf PlaybackEvent{broken}"
        if family == TOO_LARGE:
            cut = " or more, of which the beginning was kept" if letter.may_be_cut else ""
            most = f"{self.stream.max_message_bytes:,} bytes (stream.max_message_bytes)"
            return f"at most {most}; it has {len(letter.payload):,}{cut}"
        if family == "time_out_of_range":
            latest = f"{stamp(self._latest_ms(letter))}, stream.clock_skew after the clock it was judged by"
            return f"event_time_ms after {stamp(EARLIEST_MS)}, at most {latest}"
        if family == "unknown_event_type":
            return f"event_type: {_names('event_type')}"
        return _field_rule(family, name)

    def _latest_ms(self, letter: Letter) -> int:
        return self._clock_ms(letter) + milliseconds(self.stream.clock_skew)

    def _clock_ms(self, letter: Letter) -> int:
        return self.now_ms if letter.clock_ms is None else letter.clock_ms


def check_reasons(reasons: frozenset[str]) -> None:
    """Refuse reasons that no letter can have.

    Raises:
        UnknownName: one that is none.

    >>> check_reasons(frozenset({"missing_field:user_id"}))
    """
    for reason in sorted(reasons):
        if reason.partition(":")[0] not in FAMILIES:
            raise UnknownName("reason", reason, FAMILIES)


def stamp(time_ms: int) -> str:
    """A time for people; a number of milliseconds where no calendar reaches.

    >>> stamp(946_684_800_000), stamp(2**62)
    ('2000-01-01T00:00:00.000Z', '4611686018427387904 ms')
    """
    try:
        moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _field_rule(family: str, name: str) -> str:
    field = PlaybackEvent.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        return f"no field of today's schema is called {name!r}"
    r = field.GetOptions().Extensions[rule]
    if family == "missing_field":
        return f"{name} must be set on " + ("every event" if r.required else ", ".join(r.required_on))
    if field.enum_type:
        return f"{name}: {_names(name)}"
    if r.max_length:
        return f"{name}: at most {r.max_length} characters, none of them U+001F"
    return f"{name}: {r.min:,} to {r.max:,}"


def _names(enum: str) -> str:
    return ", ".join(v.name for v in PlaybackEvent.DESCRIPTOR.fields_by_name[enum].enum_type.values if v.number)
