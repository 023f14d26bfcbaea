"""Import of our own events: JSON lines with the field names of `PlaybackEvent`.

Rows are sent as they are, so that the speed job judges them: a row that breaks a rule of the schema becomes a dead
letter. Only what the message cannot hold is skipped here: a name that is no field, a value of the wrong type.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playhead.ingest.events import EventRow, Import, Tally
from playhead.ingest.files import read_json_lines
from schemas.decode import encode
from schemas.tables import event_columns


def read_native(paths: Sequence[Path]) -> Import:
    """Read files of events, in their order.

    Rows that make no event are counted as `not_json`, `unknown_field` or `bad_value`.

    Raises:
        InputError: a file cannot be read, or no row is an event.
    """
    tally = Tally()
    columns = event_columns()
    events: list[EventRow] = []
    for file, line, row in read_json_lines(paths, tally):
        unknown = [name for name in row if name not in columns]
        if unknown:
            tally.refuse(file, line, "unknown_field", f"got {unknown[0]!r}, allowed: {', '.join(columns)}")
            continue
        event = {name: _number(value) if columns[name] == "int64" else value for name, value in row.items()}
        fault = _fault(event)
        if fault:
            tally.refuse(file, line, "bad_value", fault)
        else:
            events.append(event)
    return tally.close(events, f"JSON lines with {', '.join(columns)}")


def _number(value: Any) -> Any:
    """Whole floats are integers: tools that know null only as NaN write integers so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fault(event: dict[str, Any]) -> str | None:
    """What the message cannot hold, or None."""
    for name, value in event.items():
        if isinstance(value, bool):
            return f"{name}: got {value!r}, allowed: a string or a number"
        try:
            encode({name: value})
        except (TypeError, ValueError) as error:
            return f"{name}: got {value!r}: {error}"
    return None
