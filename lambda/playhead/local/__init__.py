"""The plan on DuckDB: for tests, `eval` and small backfills."""
