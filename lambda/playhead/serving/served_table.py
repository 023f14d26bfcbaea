"""The lake's table of what a service served: `lake/served/<service>`, Delta, one row per vector.

Columns: request_id, serve_time, user_id, track_id and artist_id (null when the request did not say), for each view of
the service a column `<view>__<feature>` per feature and `<view>__event_timestamp_ms` (null when there was no row), by
view the maps fingerprints and statuses (stale or refused), fallback (why defaults were served; null when they were
not), kafka_partition, kafka_offset, and the partition column dt, the day of serve_time in UTC.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from playhead.declarations import Declarations
from playhead.declare import FeatureService
from playhead.errors import InputError, StackError
from playhead.stack.process import exclusive
from schemas.features_pb2 import ServedFeatures

ENTITIES = ("user_id", "track_id", "artist_id")

_MOST_CANDIDATES = 10_000

_KINDS = MappingProxyType(
    {
        pa.int64(): ("int_value",),
        pa.float64(): ("double_value", "int_value"),
        pa.string(): ("string_value",),
        pa.list_(pa.string()): ("string_list",),
    }
)
"""Column type to the kinds of `Value` that it takes."""


def served_schema(service: FeatureService, declarations: Declarations) -> pa.Schema:
    """The columns of a service's table; all may be null."""
    fields = [("request_id", pa.string()), ("serve_time", pa.timestamp("us", tz="UTC"))]
    fields += [(entity, pa.string()) for entity in ENTITIES]
    for group in service.groups:
        plan = declarations.plan(group.name)
        types = dict(plan.schema)
        fields += [(f"{plan.name}__{feature}", types[feature].to_pyarrow()) for feature in service.features_of(group)]
        fields += [(_stamp_of(plan.name), pa.int64())]
    for view in service.on_demand:
        kinds = {name: pa.type_for_alias(kind) for name, kind in view.features.items()}
        fields += [(f"{view.name}__{feature}", kinds[feature]) for feature in service.features_of(view)]
    texts = pa.map_(pa.string(), pa.string())
    fields += [("fingerprints", texts), ("statuses", texts), ("fallback", pa.string())]
    return pa.schema([*fields, ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64()), ("dt", pa.string())])


class ServedTable:
    """One service's table. Vectors land in it once, however often they are brought.

    Args:
        path: the table.
        schema: from `served_schema`; columns that the table does not have yet are added by the next commit.
        source: what the offsets are of: another source's offsets are never mistaken for this one's.
    """

    def __init__(self, path: Path, schema: pa.Schema, source: str) -> None:
        self.path = path
        self._schema = schema
        self._source = source
        self._kinds = {field.name: _KINDS[field.type] for field in schema if "__" in field.name}
        self._columns = frozenset(schema.names)
        self.undeclared: Counter[str] = Counter()

    def create(self) -> None:
        """Create the table when it is not there."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._writing():
            DeltaTable.create(self.path, self._schema, mode="ignore", partition_by=["dt"], name=self.path.name)

    def rows(self, message: ServedFeatures, partition: int, offset: int) -> list[dict[str, Any]]:
        """The vectors of a message as rows, in the order of its candidates.

        What the service no longer has is counted in `undeclared` and will not be in the table.

        Raises:
            InputError: there is no request id or user, the time is no time, or a value is not of its column's type.
        """
        candidates, shared = message.candidates, self._shared(message, partition, offset)
        if not 0 <= candidates.count <= _MOST_CANDIDATES:
            raise InputError(f"{candidates.count} candidates, at most {_MOST_CANDIDATES} are taken")
        rows = [dict(shared) for _ in range(max(1, candidates.count))]
        for name, column in candidates.entities.items():
            if name in ENTITIES:
                _fill(rows, name, column, ("string_value",))
        for view, column in candidates.event_timestamps_ms.items():
            _fill(rows, _stamp_of(view), column, ("int_value",))
        for name, column in candidates.values.items():
            _fill(rows, name, column, self._kinds.get(name))
        for view, column in candidates.statuses.items():
            own: list[dict[str, Any]] = [{} for _ in rows]
            _fill(own, view, column, ("string_value",))
            for row, statuses in zip(rows, own, strict=True):
                row["statuses"] = [*row["statuses"], *((v, s) for v, s in statuses.items() if s is not None)]
        for row in rows:
            row["fingerprints"] = [each for each in message.fingerprints.items() if _stamp_of(each[0]) in row]
            self.undeclared.update(row.keys() - self._columns)
        return rows

    def _shared(self, message: ServedFeatures, partition: int, offset: int) -> dict[str, Any]:
        """What the vectors of a message have in common."""
        if not (message.request_id and message.entities.get("user_id")):
            raise InputError("a served vector without request_id or user_id")
        try:
            day = datetime.fromtimestamp(message.serve_time_ms / 1_000, UTC).date().isoformat()
        except (ValueError, OverflowError, OSError) as error:
            raise InputError(f"serve_time_ms {message.serve_time_ms}: {error}") from error
        row: dict[str, Any] = {
            "request_id": message.request_id,
            "serve_time": message.serve_time_ms * 1_000,
            "statuses": list(message.statuses.items()),
            "fallback": message.fallback or None,
            "kafka_partition": partition,
            "kafka_offset": offset,
            "dt": day,
        }
        row.update((entity, message.entities[entity]) for entity in ENTITIES if entity in message.entities)
        row.update((_stamp_of(view), at_ms) for view, at_ms in message.event_timestamps_ms.items())
        row.update((name, _plain(name, value, self._kinds.get(name))) for name, value in message.values.items())
        return row

    def following(self) -> dict[int, int]:
        """Partition to the offset that follows what has landed; without partitions of which nothing was read."""
        versions = DeltaTable(self.path).transaction_versions()
        prefix = f"{self._source}/"
        return {int(app.removeprefix(prefix)): t.version for app, t in versions.items() if app.startswith(prefix)}

    def append(self, rows: Sequence[Mapping[str, Any]], ends: Mapping[int, int]) -> int:
        """Commit the rows that are not in the table yet, and how far the source was read, as one.

        Args:
            rows: from `row`.
            ends: partition to the offset that follows what was read of it, for this service or another. It stands in
                the commit as a Delta application transaction; what is below is there already.

        Returns:
            How many rows were new.

        Raises:
            StackError: the table cannot be written.
        """
        with self._writing():
            landed = self.following()
            new = [row for row in rows if row["kafka_offset"] >= landed.get(row["kafka_partition"], 0)]
            further = {partition: end for partition, end in ends.items() if end > landed.get(partition, 0)}
            if further:
                self._commit(new, further)
        return len(new)

    def _commit(self, rows: Sequence[Mapping[str, Any]], ends: Mapping[int, int]) -> None:
        transactions = [Transaction(f"{self._source}/{partition}", end) for partition, end in ends.items()]
        write_deltalake(
            self.path,
            pa.Table.from_pylist(rows, self._schema),
            mode="append",
            schema_mode="merge",
            commit_properties=CommitProperties(app_transactions=transactions),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            # Delta lets two appends pass that hold the same transaction: between looking and writing nobody may write.
            with exclusive(self.path.parent / f".{self.path.name}.lock"):
                yield
        except (DeltaError, pa.ArrowException) as error:
            raise StackError(
                f"{self.path} cannot be written: {error}",
                hint="after a change of a feature's type, move the table away and land again",
            ) from error


def _stamp_of(view: str) -> str:
    return f"{view}__event_timestamp_ms"


def _plain(name: str, value: Any, kinds: Sequence[str] | None) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    if kinds is not None and kind not in kinds:
        raise InputError(f"{name} is {kind}, its column takes {' or '.join(kinds)}")
    return list(value.string_list.values) if kind == "string_list" else getattr(value, kind)


def _fill(rows: Sequence[dict[str, Any]], name: str, column: Any, kinds: Sequence[str] | None) -> None:
    """Bring a column's values to their rows."""
    found = [(field.name.removesuffix("s"), values) for field, values in column.ListFields() if field.name != "places"]
    for kind, values in found:
        places = column.places or range(len(values))
        if kinds is not None and kind not in kinds:
            raise InputError(f"{name} is {kind}, its column takes {' or '.join(kinds)}")
        if len(places) != len(values) or max(places) >= len(rows):
            raise InputError(f"{name} has {len(values)} values, for {len(places)} of {len(rows)} candidates")
        for place, value in zip(places, values, strict=True):
            rows[place][name] = list(value.values) if kind == "string_list" else value
