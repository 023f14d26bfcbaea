"""Expectations that a user writes, in a file beside the declarations: any of Great Expectations, by table.

events:
  - expect_column_values_to_match_regex: {column: country, regex: "^[A-Z]{2}$"}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError

from playhead.checks.suites import EVENTS, feature_types
from playhead.declarations import Declarations
from playhead.errors import ConfigError, UnknownName
from playhead.serving.spine import columns_of, keys_of
from schemas.tables import event_columns

Expectations = Mapping[str, Sequence[Any]]
"""Table to its expectations."""

_COLUMNS = ("column", "column_A", "column_B")


def hand_written(declarations: Declarations) -> Expectations:
    """What the declarations' file says; nothing where there is none.

    Raises:
        ConfigError: the file cannot be read, or an expectation in it is wrong; it says which.
        UnknownName: no such table, expectation or column.
    """
    return load(declarations.quality, tables_of(declarations)) if declarations.quality else {}


def tables_of(declarations: Declarations) -> dict[str, list[str]]:
    """What can have expectations, with its columns: `events`, daily views, changelogs, services for training sets."""
    plans = (*declarations.daily_plans, *declarations.speed_plans)
    return {
        EVENTS: [*event_columns()],
        **{plan.name: [plan.key, *feature_types(plan)] for plan in plans},
        **{service.name: [*keys_of(service), *columns_of(service)] for service in declarations.services},
    }


def load(file: Path, tables: Mapping[str, Collection[str]]) -> Expectations:
    """The expectations of a file.

    Args:
        file: YAML: table to a list of `expectation: {argument: value}`.
        tables: those that there are, with their columns.

    Raises:
        ConfigError, UnknownName: as of `hand_written`.
    """
    try:
        given = yaml.safe_load(file.read_text()) or {}
        found = TypeAdapter(dict[str, list[dict[str, dict[str, Any] | None]]]).validate_python(given)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{file}: {place}: {first['msg']}, got {first['input']!r}", hint="table: [expectation: {argument: value}]"
        ) from error
    for table in found:
        if table not in tables:
            raise UnknownName(f"table in {file}:", table, tables)
    return {
        table: tuple(
            _expectation(f"{file}: {table}[{n}]", name, arguments or {}, tables[table])
            for n, one in enumerate(own)
            for name, arguments in one.items()
        )
        for table, own in found.items()
    }


def _expectation(place: str, name: str, arguments: dict[str, Any], columns: Collection[str]) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    del gxe  # imported, because that is what registers them
    try:
        kind = get_expectation_impl(name)
    except ExpectationNotFoundError as error:
        raise UnknownName(f"expectation at {place}:", name, list_registered_expectation_implementations()) from error
    named = [arguments[key] for key in _COLUMNS if key in arguments] + list(arguments.get("column_list", ()))
    for column in named:
        if column not in columns:
            raise UnknownName(f"column at {place} {name}:", column, columns)
    try:
        return kind(**arguments)
    except (ValueError, TypeError) as error:  # ValueError is pydantic's, of either version
        problem = "; ".join(str(error).splitlines()[1:]) or str(error)
        raise ConfigError(f"{place}: {name}: {problem}") from error
