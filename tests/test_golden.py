"""The SQL that each group becomes on each engine, held against files: what changes it is seen in review.

`make golden` writes the files anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from playhead import changelogs
from playhead.declarations import load_declarations
from playhead.plan import DailyPlan, SessionPlan, SlidingPlan, lake_table
from schemas.decode import SEPARATOR

FILES = Path(__file__).with_name("golden")
SPEED = load_declarations().speed_plans
DAILY = load_declarations().daily_plans


class Views:
    """Stands for Flink's table environment: keeps the text of each view."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def sql_query(self, query: str) -> str:
        return query

    def create_temporary_view(self, name: str, query: str) -> None:
        self.queries.append(f"-- {name}\n{query}")


def duckdb(plan: SlidingPlan | SessionPlan) -> str:
    from playhead.local.sql import compiled

    return formatted(compiled(changelogs.changelog(plan, lake_table("events"))), "duckdb")


def spark(plan: SlidingPlan | SessionPlan) -> str:
    from playhead.batch.sql import compiled

    return formatted(compiled(changelogs.changelog(plan, lake_table("events"))), "spark")


def spark_daily(plan: DailyPlan) -> str:
    from playhead.batch.sql import compiled
    from playhead.days import PartialTable, dated_events

    return formatted(compiled(PartialTable.of(plan).rows(dated_events())), "spark")


def flink(plan: SlidingPlan | SessionPlan) -> str:
    from playhead.speed import changelog

    def barrier(_tables: Views, query: str, _types: Mapping[str, str], time_column: str) -> str:
        return f"-- a barrier, rowtime from {time_column}\n{query}"

    views = Views()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changelog, "barrier", barrier)
        patch.setattr(changelog, "state_ttl", lambda _tables, _ttl: contextlib.nullcontext())
        tables: Any = views
        changelog.add_group(tables, plan)
    return "\n\n".join(views.queries)


def formatted(query: str, dialect: str) -> str:
    import sqlglot

    return str(sqlglot.parse_one(query, read=dialect).sql(dialect, pretty=True))


CASES: list[tuple[str, Any, Callable[[Any], str]]] = [
    *((f"{compiled.__name__}/{plan.name}", plan, compiled) for compiled in (duckdb, spark, flink) for plan in SPEED),
    *((f"spark/{plan.name}", plan, spark_daily) for plan in DAILY),
]


@pytest.mark.parametrize(("name", "plan", "compiled"), CASES, ids=[name for name, *_ in CASES])
def test_compiled_sql_is_what_was_reviewed(name: str, plan: Any, compiled: Callable[[Any], str]) -> None:
    # A control character in a file is not seen.
    query = compiled(plan).replace(SEPARATOR, "\\x1f") + "\n"
    file = FILES / f"{name}.sql"
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(query)
    assert query == file.read_text(), "meant? then `make golden`"


def test_there_is_no_file_without_its_group() -> None:
    assert {file.relative_to(FILES).with_suffix("").as_posix() for file in FILES.rglob("*.sql")} == {
        name for name, *_ in CASES
    }
