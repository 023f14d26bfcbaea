WITH "t2" AS (
  SELECT
    *
  FROM (
    SELECT
      *
    FROM "events" AS "t0"
    WHERE
      NOT "t0"."artist_id" IS NULL
  ) AS "t1"
  WHERE
    "t1"."event_type" = 'PLAY'
)
SELECT
  "t15"."artist_id",
  (
    "t15"."tick_ms" - (
      "t15"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t15"."plays_1m",
  "t15"."plays_1h",
  "t15"."plays_1d"
FROM (
  SELECT
    "t14"."artist_id",
    "t14"."tick_ms",
    SUM("t14"."plays_1m") OVER (
      PARTITION BY "t14"."artist_id"
      ORDER BY "t14"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1m",
    SUM("t14"."plays_1h") OVER (
      PARTITION BY "t14"."artist_id"
      ORDER BY "t14"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t14"."plays_1d") OVER (
      PARTITION BY "t14"."artist_id"
      ORDER BY "t14"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d"
  FROM (
    SELECT
      "t13"."artist_id",
      "t13"."tick_ms",
      "t13"."plays_1m",
      "t13"."plays_1h",
      "t13"."plays_1d",
      (
        "t13"."tick_ms" - (
          "t13"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t12".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t11"."artist_id",
          "t11"."second",
          MAX("t11"."tick_ms") AS "tick_ms",
          SUM("t11"."plays_1m") AS "plays_1m",
          SUM("t11"."plays_1h") AS "plays_1h",
          SUM("t11"."plays_1d") AS "plays_1d"
        FROM (
          SELECT
            "t10"."artist_id",
            "t10"."tick_ms",
            "t10"."plays_1m",
            "t10"."plays_1h",
            "t10"."plays_1d",
            (
              "t10"."tick_ms" - (
                "t10"."tick_ms" % 1000
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
                  *
                FROM (
                  SELECT
                    "t3"."artist_id",
                    "t3"."event_time_ms" AS "tick_ms",
                    CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1m",
                    CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                    CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d"
                  FROM "t2" AS "t3"
                ) AS "t4"
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    "t3"."artist_id",
                    "t3"."event_time_ms" + 60000 AS "tick_ms",
                    -(
                      CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                    ) AS "plays_1m",
                    0 AS "plays_1h",
                    0 AS "plays_1d"
                  FROM "t2" AS "t3"
                ) AS "t7"
              ) AS "t8"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t3"."artist_id",
                  "t3"."event_time_ms" + 3600000 AS "tick_ms",
                  0 AS "plays_1m",
                  -(
                    CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                  ) AS "plays_1h",
                  0 AS "plays_1d"
                FROM "t2" AS "t3"
              ) AS "t6"
            ) AS "t9"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t3"."artist_id",
                "t3"."event_time_ms" + 86400000 AS "tick_ms",
                0 AS "plays_1m",
                0 AS "plays_1h",
                -(
                  CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                ) AS "plays_1d"
              FROM "t2" AS "t3"
            ) AS "t5"
          ) AS "t10"
        ) AS "t11"
        GROUP BY
          1,
          2
      ) AS "t12"
    ) AS "t13"
  ) AS "t14"
) AS "t15"
