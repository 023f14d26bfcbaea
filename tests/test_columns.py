"""Columns hold what Python's values say, and an expression on columns gives what it gives row by row."""

from __future__ import annotations

import math
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ibis import _

from playhead.columns import Column, concatenated, numbers_of
from playhead.errors import UnsupportedError
from playhead.expressions import evaluate, operation, vectorised

TEXT = st.text(max_size=3)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.list_(pa.string()): st.lists(TEXT, max_size=2),
}


@st.composite
def lists(draw: st.DrawFn) -> tuple[pa.DataType, list[Any]]:
    kind = draw(st.sampled_from(list(VALUES)))
    return kind, draw(st.lists(st.none() | VALUES[kind], max_size=6))


@given(lists())
def test_values_come_out_as_they_went_in(given_: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = given_
    for column in (Column.of_list(values, kind), Column.of(pa.array(values, kind))):
        assert column.to_list() == values
        assert column.to_arrow(kind).equals(pa.array(values, kind))
        assert column.is_whole == (None not in values)
        assert len(column) == len(values)
    assert Column.of(pa.chunked_array([pa.array(values, kind)] * 2, kind)).to_list() == values * 2
    assert Column.nulls(2, kind).to_list() == [None, None]


@given(lists(), st.data())
def test_places_take_their_values_and_those_below_zero_null(
    given_: tuple[pa.DataType, list[Any]], data: st.DataObject
) -> None:
    kind, values = given_
    places = data.draw(st.lists(st.integers(-1, len(values) - 1), max_size=6))
    taken = Column.of_list(values, kind).take(np.array(places, np.int64))
    assert taken.to_list() == [None if place < 0 else values[place] for place in places]


@given(lists(), st.data())
def test_a_default_stands_where_null_stood(given_: tuple[pa.DataType, list[Any]], data: st.DataObject) -> None:
    kind, values = given_
    default = data.draw(VALUES[kind])
    column = Column.of_list(values, kind)
    assert column.filled(default).to_list() == [default if value is None else value for value in values]
    assert column.filled(None).to_list() == values


@given(st.lists(st.none() | st.integers(-(2**53), 2**53)))
def test_numbers_are_floats_and_null_is_none(values: list[int | None]) -> None:
    column = Column.of_list(values, pa.int64())
    assert column.cast(pa.float64()).to_list() == values
    floats = np.zeros(len(values))
    column.floats_into(floats)
    assert [None if math.isnan(each) else each for each in floats.tolist()] == values


def test_texts_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        Column.of_list(["x"], pa.string()).floats_into(np.zeros(1))


@pytest.mark.parametrize(("value", "expected"), [(3, [3.0, 3.0]), (None, [None, None])])
def test_one_value_is_that_of_all_places(value: int | None, expected: list[float | None]) -> None:
    floats = np.zeros(2)
    Column.of_list([value], pa.int64()).floats_into(floats)
    assert [None if math.isnan(each) else each for each in floats.tolist()] == expected


@given(st.lists(st.lists(st.none() | st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_columns_stand_side_by_side_and_one_below_the_other(lists: list[list[int | None]]) -> None:
    columns = {str(n): Column.of_list(own, pa.int64()) for n, own in enumerate(lists)}
    values, valid = numbers_of(columns, [*columns])
    assert [Column(*line).to_list() for line in zip(values, valid, strict=True)] == lists
    assert concatenated([*columns.values()]).to_list() == [value for own in lists for value in own]


# --- expressions ---------------------------------------------------------------------------------------------------

TYPES = {"a": "int64", "b": "int64", "x": "float64", "p": "boolean"}
NUMBERS = st.recursive(
    st.sampled_from([_.a, _.b, _.x, _.a.cast("float64")]),
    lambda inner: st.one_of(
        st.builds(lambda one, other: one + other, inner, inner),
        st.builds(lambda one, other: one - 2 * other, inner, inner),
        st.builds(lambda one, other: one * other, inner, inner),
        st.builds(lambda one, other: one / other, inner, inner),
        st.builds(lambda one: -one, inner),
        st.builds(lambda one, other: one.coalesce(other), inner, inner),
        st.builds(lambda one: one.coalesce(0), inner),
        st.builds(lambda test, one, other: test.ifelse(one, other), st.deferred(lambda: TESTS), inner, inner),
        st.builds(lambda test: test.ifelse(1, 0), st.deferred(lambda: TESTS)),
        st.builds(lambda test, one: test.ifelse(one, ibis.null("int64")), st.deferred(lambda: TESTS), inner),
    ),
    max_leaves=6,
)
TESTS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.just(_.p),
        st.builds(lambda one, other: one == other, NUMBERS, NUMBERS),
        st.builds(lambda one: one != 1, NUMBERS),
        st.builds(lambda one, other: one < other, NUMBERS, NUMBERS),
        st.builds(lambda one, other: one >= other, NUMBERS, NUMBERS),
        st.builds(lambda one: one.isin([0, 1, 7]), NUMBERS),
        st.builds(lambda one: one.isnull(), NUMBERS),
        st.builds(lambda one: one.notnull(), NUMBERS),
    ),
    lambda inner: st.one_of(
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda one: ~one, inner),
    ),
    max_leaves=4,
)
ROW = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-3, 3),
        "b": st.none() | st.integers(-3, 3),
        "x": st.none() | st.sampled_from([-1.5, 0.0, 0.5, 3.0]),
        "p": st.none() | st.booleans(),
    }
)


@given(NUMBERS | TESTS, st.lists(ROW, max_size=8))
def test_an_expression_on_columns_is_that_on_each_row(expression: Any, rows: list[dict[str, Any]]) -> None:
    node = operation(expression, TYPES)
    columns = {
        name: Column.of_list([row[name] for row in rows], ibis.dtype(kind).to_pyarrow()) for name, kind in TYPES.items()
    }
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = vectorised(node)(columns)
    assert found.to_list() == [evaluate(node, row) for row in rows]
    assert len(found.valid) == len(rows)


def test_a_text_of_a_number_and_a_value_of_literals_alone() -> None:
    columns = {"a": Column.of_list([1, None, -20], pa.int64())}
    text = vectorised(operation(_.a.cast("string"), {"a": "int64"}))(columns)
    assert text.to_list() == ["1", None, "-20"]
    assert vectorised(ibis.literal(1).op())(columns).to_list() == [1, 1, 1]
    assert vectorised(ibis.null("int64").op())(columns).to_list() == [None, None, None]


def test_what_has_no_column_form_is_named_when_it_is_compiled() -> None:
    with pytest.raises(UnsupportedError, match="Sqrt has no column form"):
        vectorised(operation(_.a.sqrt(), {"a": "int64"}))
