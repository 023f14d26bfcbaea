"""On-demand features: one function, called with one row's inputs, wherever the row is: served, trained on or tried."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from playhead.columns import Column, Flags, all_of
from playhead.declare import MOMENT, FeatureService, OnDemand
from playhead.errors import DeclarationError

_MS = pa.timestamp("ms", tz="UTC")
_KNOWN_ROWS = 100_000


def computed(
    view: OnDemand, inputs: Mapping[str, Sequence[Any]], moments_ms: Sequence[int | None]
) -> dict[str, list[Any]]:
    """The view's features of some rows.

    Args:
        view: what to compute.
        inputs: `group.feature` to a value for each row; None is null.
        moments_ms: of each row, epoch milliseconds; digits below the second are cut off. Null, also where an entity of
            the view is not known: so are all features.

    Returns:
        Feature to a value for each row, in the types of the view.

    Raises:
        DeclarationError: the function failed, or gave something else than the view's features.

    >>> def late(moment, plays_1h):
    ...     return {"night": int(moment.hour < 6), "half": plays_1h and plays_1h / 2}
    >>> from playhead.declarations import load_declarations
    >>> view = OnDemand(
    ...     name="late",
    ...     features={"night": "int64", "half": "float64"},
    ...     inputs=(MOMENT, "listener.plays_1h"),
    ...     of=(load_declarations().group("listener"),),
    ...     function=late,
    ... )
    >>> computed(view, {"listener.plays_1h": [3, None]}, [0, 43_200_000])
    {'night': [1, 0], 'half': [1.5, None]}
    """
    function, nothing = _Function(view), (None,) * len(view.features)
    columns = [_seconds(moments_ms) if each == MOMENT else inputs[each] for each in view.inputs]
    rows = [
        function(values) if moment is not None else nothing
        for moment, *values in zip(moments_ms, *columns, strict=True)
    ]
    return {name: [*values] for name, values in function.typed(rows).items()}


class Computing:
    """An on-demand view that is computed again and again: what a function gave for some inputs it gives again.

    Args:
        view: what to compute. Its function's result may depend on its inputs only.
    """

    def __init__(self, view: OnDemand) -> None:
        self.view = view
        self._kinds = {name: pa.type_for_alias(kind) for name, kind in view.features.items()}
        self._function = _Function(view)
        self._known = functools.lru_cache(maxsize=_KNOWN_ROWS)(self._row)

    def columns(self, inputs: Mapping[str, Column], at_ms: int, there: Flags) -> dict[str, Column]:
        """As `computed`, column by column.

        Args:
            inputs: `group.feature` to a value for each row, or to one for all.
            at_ms: the moment that all rows are of.
            there: the rows of which all entities are known.
        """
        rows = len(there)
        moment = _seconds([at_ms])[0]
        given = [repeat(moment, rows) if each == MOMENT else _keys(inputs[each], rows) for each in self.view.inputs]
        if all_of(there):
            made = [*map(self._known, *given)]
        else:
            nothing = (None,) * len(self._kinds)
            made = [self._known(*key) if own else nothing for own, *key in zip(there.tolist(), *given, strict=True)]
        return {name: Column.of_list(own, self._kinds[name]) for name, own in self._function.typed(made).items()}

    def _row(self, *key: Any) -> tuple[Any, ...]:
        return self._function([[*value] if type(value) is tuple else value for value in key])


def _keys(column: Column, rows: int) -> Iterable[Any]:
    """A column's values as a dictionary can hold them, for as many rows."""
    values = [tuple(value) if type(value) is list else value for value in column.to_list()]
    return repeat(values[0], rows) if len(values) == 1 else values


def with_on_demand(service: FeatureService, rows: pa.Table, moments: pa.ChunkedArray) -> pa.Table:
    """Rows with the features of the service's on-demand views beside them.

    Args:
        service: whose views.
        rows: the entity keys, and a column `group__feature` for every input.
        moments: the rows' timestamps, UTC.
    """
    stamps = pc.floor_temporal(moments, unit="second").cast(_MS).cast(pa.int64())
    for view in service.on_demand:
        known = functools.reduce(pc.and_, (rows[key].is_valid() for key in keys_of(view)), stamps.is_valid())
        moments_ms = pc.if_else(known, stamps, None).to_pylist()
        inputs = {each: rows[each.replace(".", "__")].to_pylist() for each in view.inputs if each != MOMENT}
        found = computed(view, inputs, moments_ms)
        for name, kind in view.features.items():
            rows = rows.append_column(f"{view.name}__{name}", pa.array(found[name], pa.type_for_alias(kind)))
    return rows


def keys_of(view: OnDemand) -> list[str]:
    """Keys of the entities that the view is about; none of one that is of the moment alone."""
    return list(dict.fromkeys(group.entity.key for group in view.of))


def _seconds(moments_ms: Sequence[int | None]) -> list[datetime | None]:
    return [None if ms is None else datetime.fromtimestamp(ms // 1_000, UTC) for ms in moments_ms]


class _Function:
    """A view's function: from the values of its inputs to those of its features, both in the order of the view."""

    def __init__(self, view: OnDemand) -> None:
        self._view = view
        self._names = [each.rpartition(".")[2] for each in view.inputs]
        self._features = {*view.features}

    def __call__(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Of one row, as the function gave them."""
        view, inputs = self._view, dict(zip(self._names, values, strict=True))
        try:
            made = view.function(**inputs)
            told = made.keys()
        except Exception as error:
            raise DeclarationError(
                f"on-demand view {view.name!r}: its function fails for {inputs}: {error!r}"
            ) from error
        if told != self._features:
            raise DeclarationError(
                f"on-demand view {view.name!r}: its function gave {', '.join(made) or 'nothing'}",
                hint=f"it is declared with {', '.join(view.features)}",
            )
        return tuple([made[name] for name in view.features])

    def typed(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
        """Feature to its values in the type that was declared."""
        listed = zip(*rows, strict=True) if rows else [()] * len(self._view.features)
        return {name: self._column(name, own) for name, own in zip(self._view.features, listed, strict=True)}

    def _column(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        # Most columns are as declared, which this says at a fraction of the cost of looking at each value.
        if {*map(type, values)} <= _EXACT[self._view.features[name]] and not any(map(operator.ne, values, values)):
            return values
        return [_typed(self._view, name, value) for value in values]


def _typed(view: OnDemand, name: str, value: Any) -> Any:
    if value != value:
        return None  # not a number: nothing that a model could read, and null in a frame of pandas
    allowed, made = _TYPES[view.features[name]]
    if value is not None and not isinstance(value, allowed):
        raise DeclarationError(
            f"on-demand view {view.name!r}: feature {name!r} is {value!r}, expected {view.features[name]}"
        )
    return None if value is None else made(value)


_TYPES: Mapping[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = MappingProxyType(
    {"int64": ((int,), int), "float64": ((int, float), float), "string": ((str,), str)}
)
"""Declared type to the Python types that a function may give for it, and what is made of them."""

_EXACT = {kind: {own, type(None)} for kind, (_, own) in _TYPES.items()}
