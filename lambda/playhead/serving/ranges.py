"""The rows of a view in a span of time: the same for all entities, or each entity's own."""

from __future__ import annotations

from datetime import datetime

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from playhead.serving.lake_rows import AT, MOMENT, ViewRows, numbered, open_duckdb, open_rows, run_query


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
        rows = open_rows(connection, view, start, end)
        if rows is None:
            kinds = [pa.string() for _ in view.keys] + [f.kind or pa.null() for f in view.features]
            return pa.table([pa.nulls(0, kind) for kind in kinds + [MOMENT for _ in view.stamps]], names=names)
        table = run_query(connection, view, _newest(rows, view, latest))
    types = {f.name: f.kind for f in view.features if f.kind} | dict.fromkeys(view.stamps, MOMENT)
    columns = [column.cast(types.get(name, column.type)) for name, column in zip(names, table.columns, strict=True)]
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
    rows = open_rows(connection, view, since, until)
    if rows is None:
        kinds = [f.kind or pa.null() for f in view.features]
        return pa.table([pa.nulls(0, kind) for kind in (pa.int64(), MOMENT, *kinds)], names=["place", "at", *names])
    connection.register("spine", spine)
    asked = ibis.table(ibis.schema({"place": "int64", "key": "string", "since": AT, "until": AT}), "spine")
    found = asked.join(rows, [asked.key == rows.key_0, rows.at >= asked.since, rows.at < asked.until])
    table = run_query(connection, view, found.select("place", "at", *numbered("value", view.features)))
    columns = [column.cast(f.kind or column.type) for f, column in zip(view.features, table.columns[2:], strict=True)]
    return pa.table([table["place"], table["at"].cast(MOMENT), *columns], names=["place", "at", *names])


def _newest(rows: ir.Table, view: ViewRows, latest: bool) -> ir.Table:
    """Columns key_…, value_…, at, created (where the view has it)."""
    keys = numbered("key", view.keys)
    group = keys if latest else [*keys, "at"]
    newest_first = ibis.window(group_by=group, order_by=[ibis.desc(rows.at), ibis.desc(rows.created)])
    newest = rows.mutate(place=ibis.row_number().over(newest_first)).filter(ibis._.place == 0)
    stamps = ["at", "created"][: len(view.stamps)]
    return newest.select(*keys, *numbered("value", view.features), *stamps).order_by("at", *keys)
