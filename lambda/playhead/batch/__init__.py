"""The batch layer: daily partials, views and charts, and the backfill of the speed groups, on Spark and Delta."""
