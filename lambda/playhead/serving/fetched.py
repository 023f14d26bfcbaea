"""Feature vectors as a program gets them: column by column, each made when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from playhead.columns import Column
from playhead.serving.reading import Status, Statuses

_Of = TypeVar("_Of")
_Value = TypeVar("_Value", bound=Any)

STATUS_NAMES = [status.name.lower() for status in Status]
"""As a user reads them, by their numbers."""


@dataclass(frozen=True)
class Fetched:
    """Feature vectors, column by column.

    Attributes:
        serve_time_ms: the moment they are of, epoch milliseconds.
        rows: how many vectors.
        kinds: `view__feature` to its type, in the order of the service.
        numbers: those of them that are numbers.
        columns: `view__feature` to its values; one for all rows, or one for each.
        statuses: `view__feature` to their `Status`, as long as the values. What is computed on demand is `PRESENT`
            where the entities of its view are known.
        event_timestamps_ms: view to the event timestamp of its newest row, as long as its values; null without a row.
            Of views that are read.
        counts: entities by (view, status).
    """

    serve_time_ms: int
    rows: int
    kinds: Mapping[str, pa.DataType]
    numbers: Sequence[str]
    columns: Mapping[str, Column]
    statuses: Mapping[str, Statuses]
    event_timestamps_ms: Mapping[str, Column]
    counts: Counter[tuple[str, str]]

    def to_arrow(self) -> pa.Table:
        """The vectors, a row for each."""
        return pa.table([self._whole(name).to_arrow(kind) for name, kind in self.kinds.items()], names=[*self.kinds])

    def status_table(self) -> pa.Table:
        """The status of each value, as text, in the columns of `to_arrow`."""
        names = np.array(STATUS_NAMES)
        return pa.table({name: names[np.broadcast_to(own, self.rows)] for name, own in self.statuses.items()})

    def to_numpy(self, names: Sequence[str] | None = None) -> npt.NDArray[np.float64]:
        """A matrix of the vectors, not a number where a value is null.

        Args:
            names: which features, in this order; all that are numbers when None.
        """
        wanted = self.numbers if names is None else names
        made = np.empty((len(wanted), self.rows), np.float64)
        for line, name in zip(made, wanted, strict=True):
            self.columns[name].floats_into(line)
        return np.ascontiguousarray(made.T)

    def _whole(self, name: str) -> Column:
        column = self.columns[name]
        return column if len(column) == self.rows else column.take(np.zeros(self.rows, np.int64))


class Lazy(Mapping[str, _Value], Generic[_Of, _Value]):
    """What is made when it is asked for, once: few programs look at each column and each status."""

    def __init__(self, origins: Mapping[str, _Of], make: Callable[[_Of], _Value]) -> None:
        self._origins, self._make = origins, make
        self._kept: dict[str, _Value] = {}

    def __getitem__(self, name: str) -> _Value:
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = self._make(self._origins[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)
