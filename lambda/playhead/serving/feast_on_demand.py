"""On-demand views as Feast calls them: with a pandas frame, online and offline.

Feast keeps the text of a function in its registry and runs it when it reads the view. So the text only names the view,
and what is called is the function of the declarations that are there then; the text's first line is its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from playhead.compile import compile_group
from playhead.declarations import load_declarations
from playhead.declare import MOMENT, OnDemand
from playhead.on_demand import computed, keys_of
from playhead.serving.spine import EVENT_TIMESTAMP

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"int64": "Int64", "float64": "Float64", "string": "string"}


def frame_function(view: OnDemand) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The view's function on a frame of its inputs, `view__feature`, and of `event_timestamp`."""
    import pandas as pd

    kinds = {f"{group.name}.{name}": kind for group in view.of for name, kind in compile_group(group).schema}

    def made(frame):  # type: ignore[no-untyped-def]
        inputs = {
            each: _values(frame[each.replace(".", "__")], whole=kinds[each].is_integer())
            for each in view.inputs
            if each != MOMENT
        }
        moments_ms = _moments_ms(frame[EVENT_TIMESTAMP]) if MOMENT in view.inputs else [0] * len(frame)
        # Not there when Feast tries the function with values of its own.
        for key in (key for key in keys_of(view) if key in frame):
            known = frame[key].notna()
            moments_ms = [moment if own else None for moment, own in zip(moments_ms, known, strict=True)]
        found = computed(view, inputs, moments_ms)
        return pd.DataFrame({name: pd.array(found[name], dtype=_DTYPES[kind]) for name, kind in view.features.items()})

    made.__name__ = made.__qualname__ = view.name
    return made


def frame_function_source(view: OnDemand, meaning: str) -> str:
    """The text that Feast keeps."""
    return (
        f"# {meaning}\nfrom playhead.serving.feast_on_demand import declared_function\n\n"
        f"{view.name} = declared_function({view.name!r})\n"
    )


def declared_function(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """`frame_function` of the view that is declared under a name when it is called.

    The function raises UnknownName when there is none; until then Feast can read what was registered, to remove it.
    """

    def made(frame):  # type: ignore[no-untyped-def]
        return frame_function(load_declarations().on_demand_view(name))(frame)

    made.__name__ = made.__qualname__ = name
    return made


def _values(column: pd.Series[Any], *, whole: bool) -> list[Any]:
    """A column's values, with None for null. Pandas makes floats of integers where one is null."""
    return [_value(value, whole=whole) for value in column.tolist()]


def _value(value: Any, *, whole: bool) -> Any:
    if hasattr(value, "__len__") and not isinstance(value, str):
        return list(value)
    return None if value is None or value != value else int(value) if whole else value


def _moments_ms(column: pd.Series[Any]) -> Sequence[int | None]:
    """Epoch milliseconds: of timestamps, ISO 8601 text, or Unix seconds."""
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column)
    stamps = pd.to_datetime(column, utc=True, unit="s" if numeric else None)
    return [None if stamp is pd.NaT else stamp.value // 1_000_000 for stamp in stamps]
