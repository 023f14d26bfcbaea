"""SQL text for Flink: identifiers and literals are quoted here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.flink import FlinkCompiler

from playhead.errors import UnsupportedError

_TYPES: dict[type[dt.DataType], str] = {
    dt.Int64: "BIGINT",
    dt.Int32: "INT",
    dt.Float64: "DOUBLE",
    dt.String: "STRING",
    dt.Boolean: "BOOLEAN",
}


def name(identifier: str) -> str:
    """A quoted identifier.

    >>> name("group")
    '`group`'
    """
    return "`" + identifier.replace("`", "``") + "`"


def text(value: str) -> str:
    """A quoted string literal.

    >>> text("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def columns(types: Mapping[str, str]) -> str:
    """Column definitions from names and SQL types."""
    return ", ".join(f"{name(column)} {kind}" for column, kind in types.items())


def options(values: Mapping[str, str]) -> str:
    """The `WITH (…)` of a table."""
    return ", ".join(f"{text(key)} = {text(value)}" for key, value in values.items())


def interval(length: timedelta) -> str:
    """An interval literal, to the millisecond.

    >>> interval(timedelta(hours=1, milliseconds=1500))
    "INTERVAL '0 01:00:01.500' DAY TO SECOND(3)"
    """
    seconds, millis = divmod(length // timedelta(milliseconds=1), 1000)
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{millis:03d}"
    return f"INTERVAL '{days} {clock}' DAY TO SECOND(3)"


def flink_type(kind: dt.DataType) -> str:
    """Flink's name of a type of events and features.

    Raises:
        UnsupportedError: a type that features do not have.
    """
    if isinstance(kind, dt.Array):
        return f"ARRAY<{flink_type(kind.value_type)}>"
    if type(kind) not in _TYPES:
        raise UnsupportedError(
            f"Flink: {kind} is not supported; allowed: int64, int32, float64, string, boolean, lists of these"
        )
    return _TYPES[type(kind)]


class _Compiler(FlinkCompiler):  # type: ignore[misc]
    """ibis' compiler, where it and Flink's SQL differ."""

    # The class marks these as undefined once more for each subclass, over what the subclass defines.
    UNSUPPORTED_OPS = ()

    @staticmethod
    def _minimize_spec(op: Any, spec: Any) -> Any:
        # ibis drops ROWS UNBOUNDED PRECEDING for Flink, whose default is RANGE: other results for events of one moment.
        if op.start is not None and op.start.value.dtype.is_interval():
            # Flink takes neither milliseconds as a unit nor an interval of nothing as a frame's end.
            spec.set("start", interval(timedelta(milliseconds=op.start.value.value)))
            spec.set("end", "CURRENT ROW")
            spec.set("end_side", None)
        return spec

    def visit_IfElse(self, _op: Any, *, bool_expr: Any, true_expr: Any, false_null_expr: Any) -> Any:  # noqa: N802
        # Not IF, which Flink takes for nullable whatever its branches are: each sum of it would need a count beside it.
        return sge.Case(ifs=[self.if_(bool_expr, true_expr)], default=false_null_expr)

    def visit_ArrayCollect(self, _op: Any, *, arg: Any, **_: Any) -> Any:  # noqa: N802
        # Flink has no FILTER in an OVER aggregate. The plan collects values that are never null.
        return self.f.array_agg(arg)

    def visit_ArrayStringJoin(self, _op: Any, *, arg: Any, sep: Any) -> Any:  # noqa: N802
        return self.f.anon.array_join(arg, sep)


def compiled(table: ir.Table) -> str:
    """An ibis table as Flink SQL."""
    compiler = _Compiler()
    return str(compiler.to_sqlglot(table.unbind()).sql(compiler.dialect, pretty=True))
