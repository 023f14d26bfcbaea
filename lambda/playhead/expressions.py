"""What a declared expression may hold: the operations that every engine computes alike, with their naive reading.

Sines and logarithms are not among them: engines differ in the last digit.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from playhead.columns import Column, all_true
from playhead.errors import UnsupportedError

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ops.Equals: operator.eq,
    ops.NotEquals: operator.ne,
    ops.Less: operator.lt,
    ops.LessEqual: operator.le,
    ops.Greater: operator.gt,
    ops.GreaterEqual: operator.ge,
    ops.Add: operator.add,
    ops.Subtract: operator.sub,
    ops.Multiply: operator.mul,
    ops.Divide: lambda a, b: None if b == 0 else a / b,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ops.Not: operator.not_, ops.Negate: operator.neg}
_NULLS = (ops.IsNull, ops.NotNull, ops.Coalesce, ops.And, ops.Or, ops.IfElse, ops.InValues)
_VECTORISED: Mapping[type, Callable[..., Any]] = {
    ops.Equals: np.equal,
    ops.NotEquals: np.not_equal,
    ops.Less: np.less,
    ops.LessEqual: np.less_equal,
    ops.Greater: np.greater,
    ops.GreaterEqual: np.greater_equal,
    ops.Add: np.add,
    ops.Subtract: np.subtract,
    ops.Multiply: np.multiply,
    ops.Divide: np.divide,
    ops.Not: np.logical_not,
    ops.Negate: np.negative,
}
_LEAVES = (ops.Field, ops.Literal, ops.Cast)
ALLOWED: tuple[type, ...] = (*_BINARY, *_UNARY, *_NULLS, *_LEAVES)
"""Operations of expressions over events and over features."""


def check(value: ir.Value) -> None:
    """Refuse what the engines may compute differently.

    Raises:
        UnsupportedError: it names the operation.

    >>> import ibis
    >>> check(ibis.table({"x": "int64"}, name="t").x.sqrt())
    Traceback (most recent call last):
    ...
    playhead.errors.UnsupportedError: Sqrt is not computed alike by every engine — hint: allowed are comparisons, + - * /, and or not, isnull, coalesce, ifelse, isin, cast
    """  # noqa: E501
    for node in value.op().find(ops.Value):
        if isinstance(node, ops.Cast) and not _casts_alike(node.arg.dtype, node.to):
            raise UnsupportedError(f"a cast from {node.arg.dtype} to {node.to} is not computed alike by every engine")
        if isinstance(node, ops.InValues) and any(getattr(o, "value", 0) is None for o in node.options):
            raise UnsupportedError("a null among the values of isin is not computed alike by every engine")
        if not isinstance(node, ALLOWED):
            raise UnsupportedError(
                f"{type(node).__name__} is not computed alike by every engine",
                hint="allowed are comparisons, + - * /, and or not, isnull, coalesce, ifelse, isin, cast",
            )


def text_of(value: ir.Value) -> str:
    """What an allowed expression computes, as a text: the same for the same operations on columns of the same names.

    >>> import ibis
    >>> t = ibis.table({"kind": "string", "ms": "int64"}, name="t")
    >>> text_of((t.kind == "SKIP") & (t.ms.coalesce(0) < 5_000))
    "And(Equals(kind, 'SKIP'), Less(Coalesce((ms, 0)), 5000))"
    """
    return _text_of(value.op())


def _text_of(part: object) -> str:
    if isinstance(part, ops.Field):
        return str(part.name)
    if isinstance(part, ops.Literal):
        return repr(part.value)
    if isinstance(part, tuple):
        return f"({', '.join(map(_text_of, part))})"
    if isinstance(part, ops.Node):
        return f"{type(part).__name__}({', '.join(map(_text_of, part.args))})"
    return str(part)


def _casts_alike(given: dt.DataType, to: dt.DataType) -> bool:
    """Integers to wider ones, to float64 and to text; floats to float64."""
    if to == dt.float64:
        return bool(given.is_numeric())
    return bool(given.is_integer() and (to.is_string() or to == dt.int64))


def resolve(expression: Any, columns: ir.Table | Mapping[str, ir.Value]) -> ir.Value:
    """A declared expression over these columns; a quotient is float64, and null when its denominator is 0.

    Args:
        expression: a deferred expression.
        columns: a table, or the values behind each name.

    Raises:
        AttributeError: it names no column.
    """
    table = _Columns(columns) if isinstance(columns, Mapping) else columns
    value: ir.Value = expression.resolve(table)
    # Of values only: the table that they are of has expressions of its own.
    inexact = value.op().find((ops.Divide, ops.Literal), filter=ops.Value)
    return value.op().replace(_exact, filter=ops.Value).to_expr() if inexact else value


class _Columns(dict[str, ir.Value]):
    def __getattr__(self, name: str) -> ir.Value:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no number has the attribute {name!r}", name=name) from None


def _exact(node: Any, kwargs: Any) -> Any:
    """Engines divide integers by integers in ways of their own, and take 0.1 for a decimal."""
    made = node.__recreate__(kwargs) if kwargs else node
    if isinstance(made, ops.Literal) and made.dtype.is_floating() and made.value is not None:
        return ops.Cast(made, dt.float64)
    if not isinstance(made, ops.Divide):
        return made
    top, bottom = made.left.to_expr(), made.right.to_expr()
    quotient = top.cast("float64") / bottom.cast("float64")
    return ibis.ifelse(bottom == 0, ibis.null("float64"), quotient).op()


def evaluate_over(expression: Any, row: Mapping[str, Any], types: Mapping[str, Any]) -> Any:
    """A declared expression on one row.

    Args:
        expression: a deferred expression.
        row: the columns that it may name.
        types: their ibis types.

    >>> from ibis import _
    >>> types = {"skips": "int64", "plays": "int64"}
    >>> evaluate_over(_.skips / (_.plays + 1), {"skips": 1, "plays": 3}, types)
    0.25
    >>> evaluate_over(_.skips / _.plays, {"skips": 1, "plays": 0}, types) is None
    True
    """
    return evaluate(operation(expression, types), row)


def operation(expression: Any, types: Mapping[str, Any]) -> Any:
    """What `evaluate` and `vectorised` walk: the expression over columns of these ibis types, resolved once."""
    return _node(ById(expression), tuple(types.items()))


Vectorised: TypeAlias = Callable[[Mapping[str, Column]], Column]
"""From a table's columns, at least one, to a column of as many rows."""


def vectorised(node: Any) -> Vectorised:
    """An operation compiled for whole columns of numbers; nulls as in SQL.

    Args:
        node: as `resolve(expression, table).op()`.

    Returns:
        What computes it. NumPy warns of what it does to values that are null, or divided by zero, which nobody sees:
        call it where `np.errstate` says that it need not.

    Raises:
        UnsupportedError: an operation that has no column form.

    >>> from ibis import _
    >>> table = ibis.table({"skips": "int64", "plays": "int64"}, name="t")
    >>> columns = {"skips": Column.of(pa.array([1, 1])), "plays": Column.of(pa.array([4, 0]))}
    >>> with np.errstate(divide="ignore"):
    ...     vectorised(resolve(_.skips / _.plays, table).op())(columns).to_list()
    [0.25, None]
    """
    compute = _column_form(node)

    def whole(columns: Mapping[str, Column]) -> Column:
        made, rows = compute(columns), len(next(iter(columns.values())))
        if len(made) == rows:
            return made
        # Of literals alone there is one value for all.
        return Column(np.broadcast_to(made.values, rows), np.broadcast_to(made.valid, rows))

    return whole


def _column_form(node: Any) -> Vectorised:
    if isinstance(node, ops.Field):
        return operator.itemgetter(node.name)
    if isinstance(node, ops.Literal):
        kind = _column_kind(node.dtype)
        literal = Column.nulls(1, kind) if node.value is None else Column.of_list([node.value], kind)
        return lambda _columns: literal
    if isinstance(node, ops.IfElse) and _is_null(node.true_expr):
        condition, value = _column_form(node.bool_expr), _column_form(node.false_null_expr)
        return lambda columns: _unless(condition(columns), value(columns))
    arguments = _arguments(node)
    if isinstance(node, ops.Divide):
        # NumPy's quotient of integers is that of floats.
        arguments = [each.arg if isinstance(each, ops.Cast) and each.to == dt.float64 else each for each in arguments]
    parts = [_column_form(each) for each in arguments]
    if type(node) in _VECTORISED_NULLS:
        combine = _VECTORISED_NULLS[type(node)](node)
        return lambda columns: combine(*[part(columns) for part in parts])
    if type(node) not in _VECTORISED:
        raise UnsupportedError(f"{type(node).__name__} has no column form")
    return functools.partial(_strict, _VECTORISED[type(node)], parts)


def _column_kind(kind: dt.DataType) -> pa.DataType:
    """Of a column: ibis gives literals the narrowest type, columns have the widest."""
    return pa.int64() if kind.is_integer() else pa.float64() if kind.is_floating() else kind.to_pyarrow()


def _strict(function: Callable[..., Any], parts: Sequence[Vectorised], columns: Mapping[str, Column]) -> Column:
    """Null where a part is."""
    made = [part(columns) for part in parts]
    valid = made[0].valid
    for each in made[1:]:
        valid = valid & each.valid
    return Column(function(*[each.values for each in made]), valid)


def _arguments(node: Any) -> Sequence[Any]:
    if isinstance(node, ops.Coalesce):
        return tuple(node.arg)
    if isinstance(node, ops.Cast):
        return (node.arg,)
    return (node.value,) if isinstance(node, ops.InValues) else tuple(node.args)


def _cast_column(node: Any) -> Callable[[Column], Column]:
    kind = _column_kind(node.to)
    return _texts if node.to.is_string() else lambda part: part.cast(kind)


def _texts(part: Column) -> Column:
    return Column(Column.of_list([*map(str, part.values.tolist())], pa.string()).values, part.valid)


def _coalesced(*parts: Column) -> Column:
    return functools.reduce(
        lambda one, other: Column(np.where(one.valid, one.values, other.values), one.valid | other.valid), parts
    )


def _chosen(condition: Column, true: Column, false: Column) -> Column:
    holds = condition.values & condition.valid
    return Column(np.where(holds, true.values, false.values), np.where(holds, true.valid, false.valid))


def _is_null(node: Any) -> bool:
    part = node.arg if isinstance(node, ops.Cast) else node
    return isinstance(part, ops.Literal) and part.value is None


def _unless(condition: Column, value: Column) -> Column:
    """As `_chosen` with null for true: of every quotient."""
    return Column(value.values, value.valid & ~(condition.values & condition.valid))


def _in_values(node: Any) -> Callable[[Column], Column]:
    options = [option.value for option in node.options]
    return lambda value: Column(np.isin(value.values, options), value.valid)


def _and(one: Column, other: Column) -> Column:
    no = (one.valid & ~one.values) | (other.valid & ~other.values)
    return Column(~no, no | (one.valid & other.valid))


def _or(one: Column, other: Column) -> Column:
    yes = (one.valid & one.values) | (other.valid & other.values)
    return Column(yes, yes | (one.valid & other.valid))


def _all_known(flags: Any) -> Column:
    return Column(flags, all_true(len(flags)))


_VECTORISED_NULLS: Mapping[type, Callable[[Any], Callable[..., Column]]] = {
    ops.Cast: _cast_column,
    ops.Coalesce: lambda _node: _coalesced,
    ops.IfElse: lambda _node: _chosen,
    ops.InValues: _in_values,
    ops.And: lambda _node: _and,
    ops.Or: lambda _node: _or,
    ops.IsNull: lambda _node: lambda part: _all_known(~part.valid),
    ops.NotNull: lambda _node: lambda part: _all_known(part.valid),
}
"""How columns of an operation combine that a null does not simply pass through, or that its type decides."""


class ById:
    """An object as a key of a cache: `==` between expressions makes another expression."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.own is other.own

    def __hash__(self) -> int:
        return id(self.own)


@functools.lru_cache(maxsize=1024)
def _node(key: ById, types: tuple[tuple[str, Any], ...]) -> Any:
    return resolve(key.own, ibis.table(dict(types), name="row")).op()


def evaluate(node: Any, row: Mapping[str, Any]) -> Any:
    """An operation on one row, in SQL's three-valued logic: None is null.

    Args:
        node: as `expression.resolve(table).op()`.
        row: the table's columns.

    Raises:
        UnsupportedError: an operation that is not among `ALLOWED`.
    """
    if isinstance(node, ops.Field):
        return row[node.name]
    if isinstance(node, ops.Literal):
        return node.value
    if isinstance(node, ops.Cast):
        return _cast(evaluate(node.arg, row), node.to)
    if isinstance(node, _NULLS):
        return _with_nulls(node, row)
    if type(node) in _UNARY:
        value = evaluate(node.arg, row)
        return None if value is None else _UNARY[type(node)](value)
    if type(node) in _BINARY:
        left, right = evaluate(node.left, row), evaluate(node.right, row)
        return None if left is None or right is None else _BINARY[type(node)](left, right)
    raise UnsupportedError(f"{type(node).__name__} has no naive reading")


def _with_nulls(node: Any, row: Mapping[str, Any]) -> Any:
    """Operations that a null does not simply pass through."""
    if isinstance(node, ops.IsNull):
        return evaluate(node.arg, row) is None
    if isinstance(node, ops.NotNull):
        return evaluate(node.arg, row) is not None
    if isinstance(node, ops.Coalesce):
        return next((v for each in node.arg if (v := evaluate(each, row)) is not None), None)
    if isinstance(node, ops.IfElse):
        return evaluate(node.true_expr if evaluate(node.bool_expr, row) else node.false_null_expr, row)
    if isinstance(node, ops.InValues):
        value = evaluate(node.value, row)
        return None if value is None else value in [evaluate(option, row) for option in node.options]
    pair = (evaluate(node.left, row), evaluate(node.right, row))
    decisive = isinstance(node, ops.Or)
    if decisive in pair:
        return decisive
    return None if None in pair else not decisive


def _cast(value: Any, to: dt.DataType) -> Any:
    if value is None:
        return None
    if isinstance(to, dt.Floating):
        return float(value)
    if isinstance(to, dt.Integer):
        return int(value)
    return str(value) if isinstance(to, dt.String) else value
