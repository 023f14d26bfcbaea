"""The log of what was served: what is landed of its messages is what was served."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from playhead.columns import Column
from playhead.serving.served_log import messages
from playhead.serving.served_table import ServedTable
from playhead.serving.vectors import Candidates, Part, Vectors
from schemas.features_pb2 import ServedFeatures

TYPES = {"i": pa.int64(), "f": pa.float64(), "s": pa.string(), "l": pa.list_(pa.string())}
FIELDS = [(f"{view}__{name}", kind) for view in "ab" for name, kind in TYPES.items()]
FIELDS += [(f"{view}__event_timestamp_ms", pa.int64()) for view in "ab"]
FIELDS += [(name, pa.string()) for name in ("request_id", "user_id", "track_id", "artist_id", "fallback", "dt")]
FIELDS += [(name, pa.int64()) for name in ("serve_time", "kafka_partition", "kafka_offset")]
TEXTS_BY_VIEW = pa.map_(pa.string(), pa.string())
SCHEMA = pa.schema([*FIELDS, ("fingerprints", TEXTS_BY_VIEW), ("statuses", TEXTS_BY_VIEW)])

TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(allow_nan=False),
    "s": TEXTS,
    "l": st.lists(TEXTS, max_size=3),
}


@st.composite
def parts(draw: st.DrawFn, view: str, **entities: st.SearchStrategy[str]) -> Part:
    values = {f"{view}__{name}": st.none() | kind for name, kind in VALUES.items()}
    part = Part(draw(st.fixed_dictionaries({}, optional=entities)), draw(st.fixed_dictionaries({}, optional=values)))
    at_ms = draw(st.none() | st.integers(-(2**53), 2**53))
    if at_ms is not None:
        part.event_timestamps_ms[view], part.fingerprints[view] = at_ms, f"of {view}"
    part.statuses |= draw(st.fixed_dictionaries({}, optional={view: st.sampled_from(["stale", "refused"])}))
    return part


def columns_of(parts: list[Part]) -> Candidates:
    """The same in columns, as a service has them: with a place for each where one has something."""

    def in_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {name: [row.get(name) for row in rows] for name in sorted({*itertools.chain(*rows)})}

    values = in_columns([part.values for part in parts]).items()
    stamps = in_columns([part.event_timestamps_ms for part in parts]).items()
    return Candidates(
        len(parts),
        in_columns([part.entities for part in parts]),
        {name: Column.of_list(own, TYPES[name.rpartition("__")[2]]) for name, own in values},
        {view: Column.of_list(own, pa.int64()) for view, own in stamps},
        dict(itertools.chain.from_iterable(part.fingerprints.items() for part in parts)),
        in_columns([part.statuses for part in parts]),
    )


def vectors_in(message: ServedFeatures) -> list[dict[str, Any]]:
    """What the table makes of a message, for a service that has every feature."""
    table = ServedTable(Path("nowhere"), SCHEMA, "served")
    rows = table.rows(message, 0, 0)
    assert not table.undeclared
    return rows


def expected(vectors: Vectors, part: Part, fallback: str | None) -> dict[str, Any]:
    shared = vectors.shared
    stamps = shared.event_timestamps_ms | part.event_timestamps_ms
    prints = shared.fingerprints | part.fingerprints
    return {
        "request_id": "r",
        "serve_time": vectors.serve_time_ms * 1_000,
        "fallback": fallback,
        **shared.entities,
        **part.entities,
        **shared.values,
        **part.values,
        **{f"{view}__event_timestamp_ms": at_ms for view, at_ms in stamps.items()},
        "fingerprints": {view: of_view for view, of_view in prints.items() if view in stamps},
        "statuses": shared.statuses | part.statuses,
    }


def plain(row: dict[str, Any]) -> dict[str, Any]:
    where = ("kafka_partition", "kafka_offset", "dt")
    found = {name: value for name, value in row.items() if name not in where}
    return found | {name: dict(row[name]) for name in ("fingerprints", "statuses")}


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """With the types of values, of which 1 and 1.0 are equal; without nulls, which a table fills in."""
    return {name: (type(value), value) for name, value in row.items() if value is not None}


@given(
    parts("a"),
    st.lists(parts("b", track_id=TEXTS, artist_id=TEXTS), max_size=5),
    st.integers(0, 2**40),
    st.sampled_from([None, "budget"]),
)
def test_what_is_landed_is_what_was_served(
    shared: Part, candidates: list[Part], at_ms: int, fallback: str | None
) -> None:
    shared.entities["user_id"] = "u"
    vectors = Vectors(at_ms, shared, columns_of(candidates), Counter())
    made = [ServedFeatures.FromString(message.SerializeToString()) for message in messages("r", "s", vectors, fallback)]
    landed = [plain(row) for message in made for row in vectors_in(message)]
    wanted = [expected(vectors, part, fallback) for part in candidates or [Part({})]]
    assert [*map(typed, landed)] == [*map(typed, wanted)]


def test_many_candidates_are_several_messages() -> None:
    column = Column.of_list(range(600), pa.int64())
    candidates = Candidates(600, {"track_id": [f"t{n}" for n in range(600)]}, {"b__i": column})
    made = [*messages("r", "s", Vectors(0, Part({"user_id": "u"}), candidates, Counter()))]
    assert [message.candidates.count for message in made] == [250, 250, 100]
    assert list(made[2].candidates.values["b__i"].int_values) == [*range(500, 600)]


def test_an_integer_as_the_default_of_a_float_is_a_float() -> None:
    column = Column.of_list([None, 0.5, None], pa.float64())
    candidates = Candidates(3, {"track_id": ["t"] * 3}, {"b__f": column.filled(0)})
    (message,) = messages("r", "s", Vectors(0, Part({"user_id": "u"}), candidates, Counter()))
    assert list(message.candidates.values["b__f"].double_values) == [0.0, 0.5, 0.0]
