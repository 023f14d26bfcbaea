"""Dead letters by reason, and those that a person wants to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playhead.config import KafkaSettings
from playhead.dlq.judge import Judge, stamp
from playhead.dlq.letters import Letter, Progress, Selection, read_letters, read_markers
from playhead.dlq.places import Place, Places
from playhead.dlq.wire import Value, WireField, read_fields


@dataclass(kw_only=True)
class ReasonCount:
    """The letters of one reason.

    Attributes:
        reason: the reason.
        example: where the newest of their records was.
        letters: records that were refused for it.
        repeats: letters that came once more, because the job was restarted.
        replayed: letters that were sent again, or whose event a replay has found in the lake.
        first_ms: when the first was written, UTC epoch ms; null when Kafka does not know.
        last_ms: when the last was.
    """

    reason: str
    example: Place
    letters: int = 0
    repeats: int = 0
    replayed: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, letter: Letter) -> None:
        """Count a letter's time, and take it as the example when none is newer."""
        written_ms = letter.written_ms
        if written_ms is None:
            return
        self.first_ms = written_ms if self.first_ms is None else min(self.first_ms, written_ms)
        if self.last_ms is None or written_ms >= self.last_ms:
            self.last_ms, self.example = written_ms, letter.place

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values; times in ISO 8601, UTC."""
        counts = {"letters": self.letters, "repeats": self.repeats, "replayed": self.replayed}
        times = {
            name: None if ms is None else stamp(ms) for name, ms in (("first", self.first_ms), ("last", self.last_ms))
        }
        return {"reason": self.reason, **counts, **times, "example": str(self.example)}


def count_letters(
    kafka: KafkaSettings, selection: Selection = Selection(), *, progress: Progress = lambda _read, _total: None
) -> tuple[ReasonCount, ...]:
    """Count letters by reason, the most frequent first. Holds a bit or so for each letter, and none of them.

    Raises:
        StackError: Kafka does not answer, or a topic is missing.
    """
    seen, replayed = Places(), Places()
    for marker in read_markers(kafka):
        replayed.add(marker.place)
    counts: dict[str, ReasonCount] = {}
    for letter in read_letters(kafka, selection, progress=progress):
        count = counts.setdefault(letter.reason, ReasonCount(reason=letter.reason, example=letter.place))
        count.add(letter)
        if not seen.add(letter.place):
            count.repeats += 1
            continue
        count.letters += 1
        count.replayed += letter.place in replayed
    return tuple(sorted(counts.values(), key=lambda count: (-count.letters, count.reason)))


def find_letters(
    kafka: KafkaSettings,
    selection: Selection = Selection(),
    *,
    place: Place | None = None,
    progress: Progress = lambda _read, _total: None,
) -> Iterator[Letter]:
    """Letters as they come, each once.

    Args:
        kafka: where they are.
        selection: which.
        place: only the one of the record at this place.
        progress: told how far it is.

    Raises:
        StackError: Kafka does not answer, or there is no such topic.
    """
    seen = Places()
    for letter in read_letters(kafka, selection, progress=progress):
        if (place is None or letter.place == place) and seen.add(letter.place):
            yield letter
            if place is not None:
                return


def described(letter: Letter, judge: Judge, most_bytes: int) -> dict[str, Any]:
    """All there is to say of a letter, as JSON values.

    Args:
        letter: the letter.
        judge: judges it by today's rules.
        most_bytes: so many bytes of it are given in `hex`, and of a text or of bytes in a field.
    """
    anatomy, today = read_fields(letter.payload), judge.judge(letter, letter.payload)
    refused = today if isinstance(today, str) else None
    return {
        "place": str(letter.place),
        "reason": letter.reason,
        "written": None if letter.written_ms is None else stamp(letter.written_ms),
        "clock": None if letter.clock_ms is None else stamp(letter.clock_ms),
        "bytes": len(letter.payload),
        "may_be_cut": letter.may_be_cut,
        "today": refused or "valid",
        "allowed": None if refused is None else judge.allowed(letter, refused),
        "fields": [_field(field, most_bytes) for field in anatomy.fields],
        "broken_at": anatomy.broken_at,
        "problem": anatomy.problem,
        "hex": letter.payload[:most_bytes].hex(),
    }


def _field(field: WireField, most_bytes: int) -> dict[str, Any]:
    value, note = _value(field.value, most_bytes)
    notes = ", ".join(filter(None, (field.note, note)))
    return {"at": field.at, "number": field.number, "name": field.name, "value": value, "note": notes}


def _value(value: Value, most: int) -> tuple[str | int | None, str]:
    """A value that JSON can hold, and what is not shown of it."""
    if not isinstance(value, str | bytes):
        return value, ""
    left = len(value) - most
    shown = value[:most].hex() if isinstance(value, bytes) else value[:most]
    kind = "in hex" if isinstance(value, bytes) else ""
    more = f"{left:,} more {'bytes' if isinstance(value, bytes) else 'characters'}" if left > 0 else ""
    return shown, ", ".join(filter(None, (kind, more)))
