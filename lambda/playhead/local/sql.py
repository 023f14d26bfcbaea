"""ibis tables as DuckDB's SQL."""

from __future__ import annotations

from threading import Lock

import ibis
import ibis.expr.types as ir
from ibis.backends.sql.compilers.duckdb import DuckDBCompiler

_LOCK = Lock()


def compiled(table: ir.Table) -> str:
    """An ibis table as DuckDB SQL, with a SELECT for each step.

    ibis could fuse them, but takes longer for that than DuckDB for ten thousand events, and DuckDB's optimizer does it
    anyway. So where the order of the rows matters, `order_by` has to be the last step.

    >>> compiled(ibis.table({"plays": "int64"}, "tracks").filter(ibis._.plays > 3))
    'SELECT * FROM "tracks" AS "t0" WHERE "t0"."plays" > 3'
    """
    compiler, options = DuckDBCompiler(), ibis.options.sql
    # The option is the process's; what another thread compiles meanwhile means the same.
    with _LOCK:
        fused, options.fuse_selects = options.fuse_selects, False
        try:
            return str(compiler.to_sqlglot(table.unbind()).sql(compiler.dialect))
        finally:
            options.fuse_selects = fused
