"""Items that a layer of the Lambda merge knows, brought to the rows that are merged."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from playhead.columns import Column, Flags, Places, all_of

Moments: TypeAlias = npt.NDArray[np.int64]
"""Epoch milliseconds, one for each row."""

Inside: TypeAlias = Flags | None
"""Which of a layer's items are inside a window; None: all."""

Window: TypeAlias = tuple[str, str]
"""A feature, and the measure that it is a window of."""


class Layer(Protocol):
    """What a layer knows, an item for each row and day, or for each row; see `playhead.merge.Partials` and
    `playhead.merge.Windows`.

    An item that is null tells nothing.
    """

    @property
    def rows(self) -> Places:
        """Which row each item is of, from 0."""

    def inside(self, since_ms: Moments, until_ms: Moments) -> Inside:
        """The items from `since_ms` to before `until_ms` of their rows, both midnights."""

    def column(self, window: str, measure: str) -> Column:
        """The items' partials for a window of a measure: int64 or text."""

    def numbers(self, windows: Sequence[Window]) -> tuple[npt.NDArray[np.int64], Flags]:
        """Those of int64 for several windows, as of `playhead.columns.Numbers`."""


class Items:
    """Brings the items of a layer to rows, of which there are so many."""

    def __init__(self, layer: Layer, rows: int) -> None:
        self._layer, self._rows = layer, rows
        self._rounds = _rounds(layer.rows, rows)

    def numbers(self, windows: Sequence[Window], nothing: int, inside: Inside) -> tuple[npt.NDArray[np.int64], Flags]:
        """Of each window the items' values, `nothing` where there is none, and where there is one."""
        values, valid = self._layer.numbers(windows)
        if inside is not None:
            valid = valid & inside
        return values if all_of(valid) else np.where(valid, values, nothing), valid

    def texts(self, window: Window, inside: Inside) -> Iterator[tuple[int, str]]:
        """Rows and texts; those of a row in no order."""
        column = self._layer.column(*window)
        own = column.valid if inside is None else column.valid & inside
        return compress(zip(self._layer.rows.tolist(), column.values.tolist(), strict=True), own.tolist())

    def combined(self, function: np.ufunc, values: npt.NDArray[Any], nothing: Any) -> npt.NDArray[Any]:
        """Values of items, a line for each window, as one for each row; `nothing` where there is no item."""
        if self._rounds == 1:
            return values
        if self._rounds:
            return np.asarray(function.reduce(values.reshape(len(values), self._rounds, self._rows), axis=1))
        found = np.full((len(values), self._rows), nothing, values.dtype)
        if values.size:
            order, starts, rows = self._by_row
            found[:, rows] = function.reduceat(values[:, order], starts, axis=1)
        return found

    @functools.cached_property
    def _by_row(self) -> tuple[Places, Places, Places]:
        """The items' order by row, where each row begins in it, and which row it is."""
        order = np.argsort(self._layer.rows, kind="stable")
        rows = self._layer.rows[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        return order, starts, rows[starts]


def _rounds(places: Places, rows: int) -> int:
    """How often items go through all rows, one after the other; 0 when that is not how they come."""
    rounds, rest = divmod(len(places), max(1, rows))
    if rest or not rounds or not all_of(places.reshape(rounds, -1) == np.arange(rows)):
        return 0
    return rounds
