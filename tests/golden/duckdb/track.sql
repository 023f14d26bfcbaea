WITH "t1" AS (
  SELECT
    *
  FROM "events" AS "t0"
  WHERE
    NOT "t0"."track_id" IS NULL
), "t3" AS (
  SELECT
    *
  FROM "t1" AS "t2"
  WHERE
    "t2"."event_type" = 'PLAY'
), "t5" AS (
  SELECT
    *
  FROM "t1" AS "t2"
  WHERE
    (
      "t2"."event_type" = 'PLAY'
    ) OR (
      "t2"."event_type" = 'SKIP'
    )
)
SELECT
  "t18"."track_id",
  (
    "t18"."tick_ms" - (
      "t18"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t18"."plays_1m",
  "t18"."plays_1h",
  "t18"."plays_1d",
  "t18"."skips_1h"
FROM (
  SELECT
    "t17"."track_id",
    "t17"."tick_ms",
    SUM("t17"."plays_1m") OVER (
      PARTITION BY "t17"."track_id"
      ORDER BY "t17"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1m",
    SUM("t17"."plays_1h") OVER (
      PARTITION BY "t17"."track_id"
      ORDER BY "t17"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t17"."plays_1d") OVER (
      PARTITION BY "t17"."track_id"
      ORDER BY "t17"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d",
    SUM("t17"."skips_1h") OVER (
      PARTITION BY "t17"."track_id"
      ORDER BY "t17"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips_1h"
  FROM (
    SELECT
      "t16"."track_id",
      "t16"."tick_ms",
      "t16"."plays_1m",
      "t16"."plays_1h",
      "t16"."plays_1d",
      "t16"."skips_1h",
      (
        "t16"."tick_ms" - (
          "t16"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t15".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t14"."track_id",
          "t14"."second",
          MAX("t14"."tick_ms") AS "tick_ms",
          SUM("t14"."plays_1m") AS "plays_1m",
          SUM("t14"."plays_1h") AS "plays_1h",
          SUM("t14"."plays_1d") AS "plays_1d",
          SUM("t14"."skips_1h") AS "skips_1h"
        FROM (
          SELECT
            "t13"."track_id",
            "t13"."tick_ms",
            "t13"."plays_1m",
            "t13"."plays_1h",
            "t13"."plays_1d",
            "t13"."skips_1h",
            (
              "t13"."tick_ms" - (
                "t13"."tick_ms" % 1000
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
                    "t6"."track_id",
                    "t6"."event_time_ms" AS "tick_ms",
                    CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1m",
                    CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                    CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d",
                    CASE WHEN "t6"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips_1h"
                  FROM "t5" AS "t6"
                ) AS "t9"
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    "t4"."track_id",
                    "t4"."event_time_ms" + 60000 AS "tick_ms",
                    -(
                      CASE WHEN "t4"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                    ) AS "plays_1m",
                    0 AS "plays_1h",
                    0 AS "plays_1d",
                    0 AS "skips_1h"
                  FROM "t3" AS "t4"
                ) AS "t8"
              ) AS "t10"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t6"."track_id",
                  "t6"."event_time_ms" + 3600000 AS "tick_ms",
                  0 AS "plays_1m",
                  -(
                    CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                  ) AS "plays_1h",
                  0 AS "plays_1d",
                  -(
                    CASE WHEN "t6"."event_type" = 'SKIP' THEN 1 ELSE 0 END
                  ) AS "skips_1h"
                FROM "t5" AS "t6"
              ) AS "t11"
            ) AS "t12"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t4"."track_id",
                "t4"."event_time_ms" + 86400000 AS "tick_ms",
                0 AS "plays_1m",
                0 AS "plays_1h",
                -(
                  CASE WHEN "t4"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                ) AS "plays_1d",
                0 AS "skips_1h"
              FROM "t3" AS "t4"
            ) AS "t7"
          ) AS "t13"
        ) AS "t14"
        GROUP BY
          1,
          2
      ) AS "t15"
    ) AS "t16"
  ) AS "t17"
) AS "t18"
