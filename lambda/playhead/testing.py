"""For tests of features: events in a table in the test, expected values in a table beside it.

from features.listener import listener
from playhead.testing import assert_values

def test_a_skip_within_five_seconds_is_early() -> None:
    assert_values(
        listener,
        events='''
            at                  | user_id | event_type | track_id | ms_played
            2025-03-01 10:00:00 | ada     | PLAY       | t1       |
            2025-03-01 10:00:04 | ada     | SKIP       | t1       | 4000
        ''',
        expected='''
            at                  | user_id | plays_1h | early_skips_1h | last_5_tracks
            2025-03-01 10:00:04 | ada     | 1        | 0              | t1
            2025-03-01 10:00:05 | ada     | 1        | 1              | t1
        ''',
    )
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa

from playhead.compile import compile_group
from playhead.declare import VALID_FROM_MS, Attribute, Dimension, FeatureGroup, FeatureService
from playhead.dimensions import arrow_schema
from playhead.errors import InputError, UnknownName
from playhead.evaluate import evaluate, master_data
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT
from schemas.playback_pb2 import EventType
from schemas.tables import event_columns

AT = "at"
"""The column of moments in both tables: ISO 8601, UTC where it has no offset."""

_EVENT_TYPES = [name for name, number in EventType.items() if number]


def events_of(table: str) -> pa.Table:
    """Events from a text table: a header of event columns, then a line each; an empty cell is null.

    Args:
        table: columns of the event, `at` in place of `event_time_ms`. Ids follow from the line when there is no
            `event_id`; `content_type` is SONG when it is not given.

    Returns:
        The master data's columns, in the order of the lines, which is Kafka's.

    Raises:
        UnknownName: a column that events do not have.
        InputError: a cell that does not fit, or no `at`.

    >>> rows = events_of('''
    ...     at                      | user_id | event_type
    ...     2025-03-01 10:00:00.250 | ada     | PAUSE
    ... ''')
    >>> [(e["event_id"], e["event_time_ms"], e["event_type"]) for e in rows.to_pylist()]
    [('e1', 1740823200250, 'PAUSE')]
    """
    types = event_columns()
    rows = []
    for line, cells in enumerate(_cells(table, [AT, *types]), start=1):
        row: dict[str, Any] = {"event_id": f"e{line}", "content_type": "SONG"}
        for name, cell in cells.items():
            if name == AT:
                row["event_time_ms"] = round(_moment(line, cell).timestamp() * 1_000)
            else:
                row[name] = _value(line, name, cell, dt.dtype(types[name]))
        if row.get("event_type") not in _EVENT_TYPES:
            raise InputError(f"line {line}: event_type is {row.get('event_type')!r}; known: {', '.join(_EVENT_TYPES)}")
        rows.append(row)
    return master_data(rows)


def dimension_of(dimension: Dimension, table: str) -> pa.Table:
    """Rows of a dimension from a text table: the key, its columns, and `at`, from when a row holds.

    A decimal is given as it is kept: 500 for 0.5 of a decimal(3). An absent column is null.
    """
    types = {name: dt.dtype(kind) for name, kind in dimension.types.items()} | {dimension.key: dt.string}
    rows = []
    for line, cells in enumerate(_cells(table, [AT, *types], needed=dimension.key), start=1):
        own = {name: _value(line, name, cell, types[name]) for name, cell in cells.items() if name != AT}
        since_ms = round(_moment(line, cells[AT]).timestamp() * 1_000)
        rows.append(dict.fromkeys(dimension.columns) | own | {VALID_FROM_MS: since_ms})
    return pa.Table.from_pylist(rows, arrow_schema(dimension))


def assert_values(
    group: FeatureGroup,
    events: str | pa.Table,
    expected: str,
    engines: Iterable[str] = ("duckdb", "oracle"),
    dimensions: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Fail unless every engine gives the expected values.

    Args:
        group: whose features.
        events: a text table as of `events_of`, or its result.
        expected: a text table: `at`, the group's key, and any of its features. A list is its values with spaces between
            them; an empty cell is null.
        engines: see `playhead.evaluate.ENGINES`, and oracle.
        dimensions: dimension to a text table of its rows, as of `dimension_of`.

    Raises:
        AssertionError: each value that differs, by engine, line and feature.
        InputError, UnknownName: a table that cannot be read.
    """
    declared = {d.name: d for d in (*group.enrich, *(f.of for f in group.features if isinstance(f, Attribute)))}
    for name in (name for name in dimensions if name not in declared):
        raise UnknownName(f"dimension of {group.name!r}", name, declared)
    known = {name: dimension_of(declared[name], table) for name, table in dimensions.items()}
    happened = events_of(events) if isinstance(events, str) else events
    kinds = dict(compile_group(group).schema)
    lines = list(_cells(expected, [AT, group.entity.key, *kinds], needed=group.entity.key))
    moments = pa.array([_moment(i, cells[AT]) for i, cells in enumerate(lines, start=1)], MOMENT)
    keys = pa.array([cells[group.entity.key] for cells in lines], pa.string())
    spine = pa.table({group.entity.key: keys, EVENT_TIMESTAMP: moments})
    service = FeatureService(name=group.name, groups=(group,))
    wrong = []
    for engine in engines:
        found = evaluate(service, happened, spine, engine, known).to_pylist()
        for line, (cells, row) in enumerate(zip(lines, found, strict=True), start=1):
            for name in (n for n in cells if n in kinds):
                want, got = _value(line, name, cells[name], kinds[name]), row[f"{group.name}__{name}"]
                if want != got:
                    wrong.append(f"{engine}: line {line} ({cells[AT]}): {name} is {got!r}, expected {want!r}")
    if wrong:
        raise AssertionError("\n".join(wrong))


def _cells(table: str, known: list[str], needed: str = AT) -> Iterable[Mapping[str, str | None]]:
    lines = [line.strip() for line in table.strip().splitlines() if line.strip()]
    if len(lines) < 2:
        raise InputError("a text table is a header and at least one line", hint="columns are separated by |")
    names = [name.strip() for name in lines[0].split("|")]
    for name in names:
        if name not in known:
            raise UnknownName("column", name, known)
    for name in (AT, needed):
        if name not in names:
            raise InputError(f"no column {name!r} in {', '.join(names)}")
    for number, line in enumerate(lines[1:], start=1):
        cells = [cell.strip() or None for cell in line.split("|")]
        if len(cells) != len(names):
            raise InputError(f"line {number}: {len(cells)} cells, expected {len(names)}: {line}")
        yield dict(zip(names, cells, strict=True))


def _moment(line: int, cell: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(cell or "")
    except ValueError as error:
        raise InputError(f"line {line}: {AT} is {cell!r}", hint="ISO 8601: 2025-03-01 10:00:00.250") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _value(line: int, name: str, cell: str | None, kind: dt.DataType) -> Any:
    if cell is None:
        return None
    try:
        if isinstance(kind, dt.Array):
            return cell.split()
        return int(cell) if kind.is_integer() else float(cell) if kind.is_floating() else cell
    except ValueError as error:
        raise InputError(f"line {line}: {name} is {cell!r}, expected {kind}") from error
