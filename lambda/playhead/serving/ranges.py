"""The rows of a view in a span of time: the same for all entities, or each entity's own."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from playhead.serving.lake_rows import MOMENT, ROWS, ViewRows, numbered, open_duckdb, open_rows, run_query, typed


def rows_between(view: ViewRows, start: datetime | None, end: datetime | None, *, latest: bool) -> pa.Table:
    """The view's rows with `start <= event timestamp <= end`.

    Args:
        view: where the rows are; its `ttl` and the spine's side of its keys do not matter.
        start: aware; None: from the first row.
        end: aware; None: to the last row.
        latest: only the latest row of each entity.

    Returns:
        The keys, the features, the event timestamp and, if the view has one, the creation timestamp. One row per
        (entity, event timestamp), or one per entity.
    """
    names = [*(column for _, column in view.keys), *(f.name for f in view.features), *view.stamps]
    with open_duckdb() as connection:
        if open_rows(connection, view, start, end) is None:
            kinds = [pa.string() for _ in view.keys] + [f.kind or pa.null() for f in view.features]
            return pa.table([pa.nulls(0, kind) for kind in kinds + [MOMENT for _ in view.stamps]], names=names)
        table = run_query(connection, view, _newest(view, latest))
    types = {f.name: f.kind for f in view.features if f.kind} | dict.fromkeys(view.stamps, MOMENT)
    columns = [typed(column, types.get(name)) for name, column in zip(names, table.columns, strict=True)]
    return pa.table(columns, names=names)


def rows_within(connection: duckdb.DuckDBPyConnection, spine: pa.Table, view: ViewRows) -> pa.Table:
    """All rows of a view in each row's span.

    Args:
        connection: from `playhead.serving.lake_rows.open_duckdb`.
        spine: `place` (int64), `key`, and a span from `since` to before `until` (timestamp[us, UTC]).
        view: with one key.

    Returns:
        `place`, the row's event timestamp as `at`, and the features under their names; in no order.
    """
    names = [feature.name for feature in view.features]
    since, until = pc.min(spine["since"]).as_py(), pc.max(spine["until"]).as_py()
    if open_rows(connection, view, since, until) is None:
        kinds = [f.kind or pa.null() for f in view.features]
        return pa.table([pa.nulls(0, kind) for kind in (pa.int64(), MOMENT, *kinds)], names=["place", "at", *names])
    connection.register("spine", spine)
    table = run_query(
        connection,
        view,
        f"""
        SELECT {", ".join(["place", '"at"', *numbered("value", view.features)])}
        FROM spine JOIN {ROWS} ON spine.key = key_0 AND "at" >= since AND "at" < until
        """,
    )
    columns = [typed(column, f.kind) for f, column in zip(view.features, table.columns[2:], strict=True)]
    return pa.table([table["place"], table["at"].cast(MOMENT), *columns], names=["place", "at", *names])


def _newest(view: ViewRows, latest: bool) -> str:
    """Columns key_…, value_…, at, created (where the view has it)."""
    keys = numbered("key", view.keys)
    stamps = ['"at"', "created"][: len(view.stamps)]
    return f"""
        SELECT {", ".join([*keys, *numbered("value", view.features), *stamps])}
        FROM {ROWS}
        QUALIFY 1 = row_number() OVER (
            PARTITION BY {", ".join(keys if latest else [*keys, '"at"'])}
            ORDER BY "at" DESC NULLS LAST, created DESC NULLS LAST
        )
        ORDER BY {", ".join(['"at"', *keys])}
        """
