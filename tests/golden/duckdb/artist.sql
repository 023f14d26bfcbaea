SELECT
  "t10"."artist_id",
  (
    "t10"."tick_ms" - (
      "t10"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t10"."plays_1h",
  "t10"."plays_1d"
FROM (
  SELECT
    "t9"."artist_id",
    "t9"."tick_ms",
    SUM("t9"."plays_1h") OVER (
      PARTITION BY "t9"."artist_id"
      ORDER BY "t9"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t9"."plays_1d") OVER (
      PARTITION BY "t9"."artist_id"
      ORDER BY "t9"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d"
  FROM (
    SELECT
      "t8"."artist_id",
      "t8"."tick_ms",
      "t8"."plays_1h",
      "t8"."plays_1d",
      (
        "t8"."tick_ms" - (
          "t8"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t7".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t6"."artist_id",
          "t6"."second",
          MAX("t6"."tick_ms") AS "tick_ms",
          SUM("t6"."plays_1h") AS "plays_1h",
          SUM("t6"."plays_1d") AS "plays_1d"
        FROM (
          SELECT
            "t5"."artist_id",
            "t5"."tick_ms",
            "t5"."plays_1h",
            "t5"."plays_1d",
            (
              "t5"."tick_ms" - (
                "t5"."tick_ms" % 1000
              )
            ) + 1000 AS "second"
          FROM (
            SELECT
              *
            FROM (
              SELECT
                *
              FROM (
                SELECT
                  "t0"."artist_id",
                  "t0"."event_time_ms" AS "tick_ms",
                  CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                  CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d"
                FROM "events" AS "t0"
                WHERE
                  "t0"."artist_id" IS NOT NULL AND "t0"."event_type" = 'PLAY'
              ) AS "t1"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t0"."artist_id",
                  "t0"."event_time_ms" + 3600000 AS "tick_ms",
                  -(
                    CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                  ) AS "plays_1h",
                  0 AS "plays_1d"
                FROM "events" AS "t0"
                WHERE
                  "t0"."artist_id" IS NOT NULL AND "t0"."event_type" = 'PLAY'
              ) AS "t3"
            ) AS "t4"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t0"."artist_id",
                "t0"."event_time_ms" + 86400000 AS "tick_ms",
                0 AS "plays_1h",
                -(
                  CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                ) AS "plays_1d"
              FROM "events" AS "t0"
              WHERE
                "t0"."artist_id" IS NOT NULL AND "t0"."event_type" = 'PLAY'
            ) AS "t2"
          ) AS "t5"
        ) AS "t6"
        GROUP BY
          1,
          2
      ) AS "t7"
    ) AS "t8"
  ) AS "t9"
) AS "t10"
