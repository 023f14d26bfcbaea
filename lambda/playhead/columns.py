"""A column of values of which some are null, in NumPy: what is read, merged and served."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Flags: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(slots=True)
class Column:
    """Values and which of them are there. Nobody changes one: it is not frozen, because a hundred are made for a
    request, and frozen ones cost twice as much.

    Attributes:
        values: int64, float64, bool, or objects (text, lists of text); anything where it is null.
        valid: False is null.

    >>> column = Column.of(pa.array([3, None]))
    >>> column.to_list(), column.take(np.array([1, 0, -1])).to_list()
    ([3, None], [None, 3, None])
    """

    values: npt.NDArray[Any]
    valid: Flags

    @classmethod
    def of(cls, array: pa.Array | pa.ChunkedArray) -> Column:
        """From Arrow."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type):
            nothing = pa.scalar(0).cast(array.type)
            return cls(array.fill_null(nothing).to_numpy(zero_copy_only=False), valid)
        return cls(_objects(array.to_pylist()), valid)

    @classmethod
    def of_list(cls, values: Sequence[Any], kind: pa.DataType) -> Column:
        """From Python's values, None is null."""
        if kind in _NUMBERS and None not in values:
            return cls(np.array(values, _NUMBERS[kind]), all_true(len(values)))
        valid = np.array([value is not None for value in values], np.bool_)
        if kind in _NUMBERS:
            return cls(np.array([0 if value is None else value for value in values], _NUMBERS[kind]), valid)
        return cls(_objects(values), valid)

    @classmethod
    def nulls(cls, rows: int, kind: pa.DataType) -> Column:
        """Nothing but nulls."""
        return cls(np.zeros(rows, _NUMBERS.get(kind, np.object_)), np.zeros(rows, np.bool_))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is null."""
        return all_of(self.valid)

    def take(self, places: Places) -> Column:
        """The values at these places; a place below 0 takes null."""
        if len(self.values) == 0:
            return Column(np.zeros(len(places), self.values.dtype), np.zeros(len(places), np.bool_))
        return Column(self.values[places], self.valid[places] & (places >= 0))

    def cast(self, kind: pa.DataType) -> Column:
        """Numbers in another type; what is no number stays as it is."""
        if kind not in _NUMBERS or self.values.dtype == _NUMBERS[kind]:
            return self
        values = self.values if self.is_whole else np.where(self.valid, self.values, 0)
        return Column(values.astype(_NUMBERS[kind]), self.valid)

    def filled(self, value: Any) -> Column:
        """With a value in place of null; None leaves it."""
        if value is None or self.is_whole:
            return self
        if self.values.dtype == np.object_:
            return Column(
                _objects([value if each is None else each for each in self.to_list()]),
                all_true(len(self.valid)),
            )
        return Column(np.where(self.valid, self.values, value), all_true(len(self.valid)))

    def to_list(self) -> list[Any]:
        """Python's values, None for null."""
        found: list[Any] = self.values.tolist()
        if not self.is_whole:
            for place in np.flatnonzero(~self.valid).tolist():
                found[place] = None
        return found

    def to_arrow(self, kind: pa.DataType) -> pa.Array:
        """In a type."""
        if self.values.dtype == np.object_:
            return pa.array(self.to_list(), kind)
        return pa.array(self.values, kind, mask=~self.valid)

    def floats_into(self, line: npt.NDArray[np.float64]) -> None:
        """Write it as numbers, not a number where it is null, into as many places, or its one value into all.

        Raises:
            TypeError, ValueError: it holds something else than numbers.
        """
        line[:] = self.values
        if not self.is_whole:
            line[np.broadcast_to(~self.valid, line.shape)] = np.nan


@functools.lru_cache(maxsize=1_024)
def all_true(*shape: int) -> Flags:
    """Flags that are all True, and that nobody can change: each shape is made once.

    >>> all_true(2)
    array([ True,  True])
    """
    made = np.ones(shape, np.bool_)
    made.flags.writeable = False
    return made


def all_of(flags: Flags) -> bool:
    """As `flags.all()`, at a tenth of what that costs for a hundred of them: no byte of them is 0."""
    return 0 not in flags.tobytes()


def any_of(flags: Flags) -> bool:
    """As `flags.any()`, as cheaply."""
    return 1 in flags.tobytes()


class Numbers(Mapping[str, Column]):
    """Columns that can give several at once."""

    @abstractmethod
    def numbers(self, names: Sequence[str]) -> tuple[npt.NDArray[np.int64], Flags]:
        """Columns of int64, a line for each: values, and which are there."""


def numbers_of(columns: Mapping[str, Column], names: Sequence[str]) -> tuple[npt.NDArray[np.int64], Flags]:
    """As of `Numbers`, of any columns."""
    if isinstance(columns, Numbers):
        return columns.numbers(names)
    found = [columns[name] for name in names]
    return np.array([own.values for own in found]), np.array([own.valid for own in found])


def concatenated(columns: Sequence[Column]) -> Column:
    """One below the other; at least one."""
    return Column(np.concatenate([c.values for c in columns]), np.concatenate([c.valid for c in columns]))


_NUMBERS = {pa.int64(): np.int64, pa.float64(): np.float64, pa.bool_(): np.bool_}


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    # Not np.array(values): lists of one length would become a second dimension.
    found = np.empty(len(values), np.object_)
    found[:] = values
    return found
