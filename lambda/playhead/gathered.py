"""The different values of a day, as one text that grows with the day and can be merged with those of other days.

`counts`: how often each value came: `{"6A617A7A":1,"706F70":2}`, the values in hexadecimal, in order. Exact, and as
long as there are values: for what has few of them in a day, like a listener's genres.

`distinct`: a sample of the values, by which their number is told: `1{"03f0…":1,"41b2…":1}`, a level and hashes. At
level L it holds the hashes that begin with L zero bits, which one in 2^L does; the level is the least at which there
are at most `SAMPLE`. Their number times 2^L is the number of values: exact up to `SAMPLE`, beyond it with a relative
standard error of 1.20 / sqrt(SAMPLE), 3.8 % (P. Flajolet, On adaptive sampling, Computing 43, 1990). Samples of parts
give that of the whole, whatever the parts and their order: so a window of days has one value, on every engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import orjson

SAMPLE = 1_024
"""The most hashes of a sample, and so the greatest number of values that is told exactly."""

LEVELS = 20
"""The last level. From a thousand million values on the sample grows over `SAMPLE`."""

_DIGITS = 15
_BITS = 4 * _DIGITS

Collect: TypeAlias = Callable[[ir.Table, Sequence[str], Any], ir.Table]
"""(table, columns of texts, window) → the table, with how often each text came in the window in place of the texts, as
JSON, in order; nulls do not count."""


@ibis.udf.scalar.builtin(name="hex")  # type: ignore[untyped-decorator]
def _hex(text: str) -> str:  # type: ignore[empty-body]
    """Every engine's: the digits of a text's UTF-8 bytes, in capitals."""


@ibis.udf.scalar.builtin(name="md5")  # type: ignore[untyped-decorator]
def _md5(text: str) -> str:  # type: ignore[empty-body]
    """Every engine's: 32 digits, in small letters."""


def value_text(value: ir.Value, how: str) -> ir.StringValue:
    """What of a value is gathered: its bytes, or its hash."""
    text = value.cast("string")
    return _hex(text) if how == "counts" else _md5(text).substr(0, _DIGITS)


def collected(table: ir.Table, columns: Sequence[str], window: Any) -> ir.Table:
    """`Collect` for engines that have lists."""
    listed = table.mutate(**{name: table[name].collect().over(window) for name in columns})
    return listed.mutate(**{name: ibis.coalesce(_counts(listed[name]), "{}") for name in columns})


def day_texts(rows: ir.Table, names: Mapping[str, str]) -> ir.Table:
    """Lists of all of a day's values, as of `value_text`, turned into texts; null where a list is empty.

    Args:
        rows: with the lists.
        names: column to `counts` or `distinct`.
    """
    for name, how in names.items():
        if how == "distinct":
            rows = rows.mutate(**{name: rows[name].unique()})
            rows = rows.mutate(**{f"{name}_level": _level(rows[name])})
            kept = _of_level(rows[name], rows[f"{name}_level"])
            text = rows[f"{name}_level"].cast("string").concat(_counts(kept))
            rows = rows.mutate(**{name: text}).drop(f"{name}_level")
        else:
            rows = rows.mutate(**{name: _counts(rows[name])})
    return rows


def _level(hashes: ir.ArrayValue) -> ir.IntegerValue:
    return level_of(lambda level: hashes.filter(lambda each: is_of(each, level)).length())


def _of_level(hashes: ir.ArrayValue, level: ir.IntegerValue) -> ir.ArrayValue:
    return hashes.filter(lambda each: each < bound_of(level))


def level_of(held: Callable[[int], ir.IntegerValue]) -> ir.IntegerValue:
    """The least level at which no more than `SAMPLE` are held.

    Args:
        held: level to how many hashes there are of it.
    """
    cases = [(held(level) <= SAMPLE, ibis.literal(level, "int64")) for level in range(LEVELS)]
    return ibis.cases(*cases, else_=ibis.literal(LEVELS, "int64"))


def is_of(hashed: ir.StringValue, level: int) -> ir.BooleanValue:
    """Whether a hash is of a level."""
    return hashed < _bound(level)


def bound_of(level: ir.IntegerValue) -> ir.StringValue:
    """The hashes of a level are less, as texts."""
    return ibis.cases(*((level == n, _bound(n)) for n in range(LEVELS)), else_=_bound(LEVELS))


def top(texts: Iterable[str], k: int) -> list[str] | None:
    """The `k` most frequent values of `counts`, the most frequent first; of equals the lesser first. None without any.

    >>> top(['{"706F70":2,"6A617A7A":1}', '{"6A617A7A":2,"726F636B":2}'], 2)
    ['jazz', 'pop']
    """
    # The digits of UTF-8 bytes have the order of the texts.
    named = sorted([(-count, digits) for digits, count in _totals(texts).items()])
    return [bytes.fromhex(digits).decode() for _, digits in named[:k]] or None


def number(texts: Iterable[str]) -> int:
    """How many different values there are in samples, taken together.

    >>> number(['0{"03f0":1,"41b2":1}', '0{"41b2":1}']), number(['2{"03f0":1}', '0{"41b2":1}']), number([])
    (2, 4, 0)
    """
    level, hashes = _sample(texts)
    return len(hashes) << level


def united(texts: Sequence[str], how: str) -> str | None:
    """One text of the same meaning as several together; None without any.

    Args:
        texts: of days, or of such.
        how: `counts` or `distinct`.

    >>> united(['{"706F70":2}', '{"6A617A7A":1,"706F70":1}'], "counts")
    '{"6A617A7A":1,"706F70":3}'
    >>> united(['0{"03f0":1}', '0{"41b2":1}'], "distinct")
    '0{"03f0":1,"41b2":1}'
    """
    if not texts:
        return None
    if how == "counts":
        return json.dumps(dict(sorted(_totals(texts).items())), separators=(",", ":"))
    level, hashes = _sample(texts)
    return f"{level}{json.dumps(dict.fromkeys(sorted(hashes), 1), separators=(',', ':'))}"


def _totals(texts: Iterable[str]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for text in texts:
        for value, count in orjson.loads(text).items():
            totals[value] = totals.get(value, 0) + count
    return totals


def _sample(texts: Iterable[str]) -> tuple[int, set[str]]:
    """The level and the hashes of samples taken together."""
    level, hashes = 0, set[str]()
    for text in texts:
        digits, brace, rest = text.partition("{")
        level = max(level, int(digits))
        hashes.update(json.loads(brace + rest))
    while True:
        hashes = {each for each in hashes if each < _text(level)}
        if len(hashes) <= SAMPLE or level == LEVELS:
            return level, hashes
        level += 1


def _counts(values: ir.ArrayValue) -> ir.StringValue:
    """How often each value of a list is in it; null of an empty list."""
    keys = values.unique().sort()
    own = keys.map(
        lambda key: ibis.literal('"').concat(key, '":', values.filter(lambda v: v == key).length().cast("string"))
    )
    return ibis.literal("{").concat(own.join(",").nullif(""), "}")


def _bound(level: int) -> ir.StringScalar:
    return ibis.literal(_text(level))


def _text(level: int) -> str:
    # Of level 0 are all: g comes after every digit.
    return f"{1 << (_BITS - level):0{_DIGITS}x}" if level else "g"


MULTISET = dt.Map(dt.string, dt.int32)
"""Flink's collection of texts, to each of which belongs how often it came."""


@ibis.udf.agg.builtin(name="COLLECT")  # type: ignore[untyped-decorator]
def _multiset(text: str) -> MULTISET:  # type: ignore[valid-type]
    """Flink's."""


@ibis.udf.scalar.builtin(name="JSON_STRING")  # type: ignore[untyped-decorator]
def _json(counts: MULTISET) -> str:  # type: ignore[valid-type, empty-body]
    """Flink's: the keys in order, without spaces."""


def collected_as_multiset(table: ir.Table, columns: Sequence[str], window: Any) -> ir.Table:
    """`Collect` for Flink, which keeps a count for each value, and no list."""
    return table.mutate(**{name: _json(_multiset(table[name]).over(window)) for name in columns})
