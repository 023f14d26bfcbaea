SELECT
  "t16"."user_id",
  (
    "t16"."tick_ms" - (
      "t16"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t16"."plays_1m",
  "t16"."plays_1h",
  "t16"."plays_1d",
  "t16"."skips_1h",
  "t16"."early_skips_1h",
  "t16"."pauses_1h",
  "t16"."completes_1h",
  "t16"."listen_ms_1h",
  CASE
    WHEN "t16"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t16"."skips_1h" AS DOUBLE) / CAST("t16"."plays_1h" AS DOUBLE)
  END AS "skip_rate_1h",
  STR_SPLIT(
    SUBSTRING(
      "t16"."last_5_tracks",
      CASE
        WHEN (
          39 + 1
        ) >= 1
        THEN 39 + 1
        ELSE 39 + 1 + LENGTH("t16"."last_5_tracks")
      END
    ),
    '\x1f'
  ) AS "last_5_tracks"
FROM (
  SELECT
    "t15"."user_id",
    "t15"."tick_ms",
    SUM("t15"."plays_1m") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1m",
    SUM("t15"."plays_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t15"."plays_1d") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d",
    SUM("t15"."skips_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips_1h",
    SUM("t15"."early_skips_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "early_skips_1h",
    SUM("t15"."pauses_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "pauses_1h",
    SUM("t15"."completes_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "completes_1h",
    SUM("t15"."listen_ms_1h") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms_1h",
    MAX("t15"."last_5_tracks") OVER (
      PARTITION BY "t15"."user_id"
      ORDER BY "t15"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "last_5_tracks"
  FROM (
    SELECT
      "t14"."user_id",
      "t14"."tick_ms",
      "t14"."plays_1m",
      "t14"."plays_1h",
      "t14"."plays_1d",
      "t14"."skips_1h",
      "t14"."early_skips_1h",
      "t14"."pauses_1h",
      "t14"."completes_1h",
      "t14"."listen_ms_1h",
      "t14"."last_5_tracks",
      (
        "t14"."tick_ms" - (
          "t14"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t13".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t12"."user_id",
          "t12"."second",
          MAX("t12"."tick_ms") AS "tick_ms",
          SUM("t12"."plays_1m") AS "plays_1m",
          SUM("t12"."plays_1h") AS "plays_1h",
          SUM("t12"."plays_1d") AS "plays_1d",
          SUM("t12"."skips_1h") AS "skips_1h",
          SUM("t12"."early_skips_1h") AS "early_skips_1h",
          SUM("t12"."pauses_1h") AS "pauses_1h",
          SUM("t12"."completes_1h") AS "completes_1h",
          SUM("t12"."listen_ms_1h") AS "listen_ms_1h",
          MAX("t12"."last_5_tracks") AS "last_5_tracks"
        FROM (
          SELECT
            "t11"."user_id",
            "t11"."tick_ms",
            "t11"."plays_1m",
            "t11"."plays_1h",
            "t11"."plays_1d",
            "t11"."skips_1h",
            "t11"."early_skips_1h",
            "t11"."pauses_1h",
            "t11"."completes_1h",
            "t11"."listen_ms_1h",
            "t11"."last_5_tracks",
            (
              "t11"."tick_ms" - (
                "t11"."tick_ms" % 1000
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
                    *
                  FROM (
                    SELECT
                      "t0"."user_id",
                      "t0"."event_time_ms" AS "tick_ms",
                      CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1m",
                      CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                      CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d",
                      CASE WHEN "t0"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips_1h",
                      CASE
                        WHEN (
                          "t0"."event_type" = 'SKIP'
                        ) AND (
                          "t0"."ms_played" < 5000
                        )
                        THEN 1
                        ELSE 0
                      END AS "early_skips_1h",
                      CASE WHEN "t0"."event_type" = 'PAUSE' THEN 1 ELSE 0 END AS "pauses_1h",
                      CASE WHEN "t0"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END AS "completes_1h",
                      CASE
                        WHEN "t0"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                        THEN COALESCE("t0"."ms_played", 0)
                        ELSE 0
                      END AS "listen_ms_1h",
                      CAST(NULL AS TEXT) AS "last_5_tracks"
                    FROM "events" AS "t0"
                    WHERE
                      "t0"."user_id" IS NOT NULL
                      AND (
                        (
                          "t0"."event_type" = 'PLAY'
                        )
                        OR (
                          "t0"."event_type" = 'SKIP'
                        )
                        OR (
                          (
                            "t0"."event_type" = 'SKIP'
                          ) AND (
                            "t0"."ms_played" < 5000
                          )
                        )
                        OR (
                          "t0"."event_type" = 'PAUSE'
                        )
                        OR (
                          "t0"."event_type" = 'COMPLETE'
                        )
                        OR "t0"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                      )
                  ) AS "t6"
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      "t0"."user_id",
                      "t0"."event_time_ms" + 60000 AS "tick_ms",
                      -(
                        CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                      ) AS "plays_1m",
                      0 AS "plays_1h",
                      0 AS "plays_1d",
                      0 AS "skips_1h",
                      0 AS "early_skips_1h",
                      0 AS "pauses_1h",
                      0 AS "completes_1h",
                      0 AS "listen_ms_1h",
                      CAST(NULL AS TEXT) AS "last_5_tracks"
                    FROM "events" AS "t0"
                    WHERE
                      "t0"."user_id" IS NOT NULL AND "t0"."event_type" = 'PLAY'
                  ) AS "t3"
                ) AS "t7"
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    "t0"."user_id",
                    "t0"."event_time_ms" + 3600000 AS "tick_ms",
                    0 AS "plays_1m",
                    -(
                      CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                    ) AS "plays_1h",
                    0 AS "plays_1d",
                    -(
                      CASE WHEN "t0"."event_type" = 'SKIP' THEN 1 ELSE 0 END
                    ) AS "skips_1h",
                    -(
                      CASE
                        WHEN (
                          "t0"."event_type" = 'SKIP'
                        ) AND (
                          "t0"."ms_played" < 5000
                        )
                        THEN 1
                        ELSE 0
                      END
                    ) AS "early_skips_1h",
                    -(
                      CASE WHEN "t0"."event_type" = 'PAUSE' THEN 1 ELSE 0 END
                    ) AS "pauses_1h",
                    -(
                      CASE WHEN "t0"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END
                    ) AS "completes_1h",
                    -(
                      CASE
                        WHEN "t0"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                        THEN COALESCE("t0"."ms_played", 0)
                        ELSE 0
                      END
                    ) AS "listen_ms_1h",
                    CAST(NULL AS TEXT) AS "last_5_tracks"
                  FROM "events" AS "t0"
                  WHERE
                    "t0"."user_id" IS NOT NULL
                    AND (
                      (
                        "t0"."event_type" = 'PLAY'
                      )
                      OR (
                        "t0"."event_type" = 'SKIP'
                      )
                      OR (
                        (
                          "t0"."event_type" = 'SKIP'
                        ) AND (
                          "t0"."ms_played" < 5000
                        )
                      )
                      OR (
                        "t0"."event_type" = 'PAUSE'
                      )
                      OR (
                        "t0"."event_type" = 'COMPLETE'
                      )
                      OR "t0"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                    )
                ) AS "t5"
              ) AS "t8"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t0"."user_id",
                  "t0"."event_time_ms" + 86400000 AS "tick_ms",
                  0 AS "plays_1m",
                  0 AS "plays_1h",
                  -(
                    CASE WHEN "t0"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                  ) AS "plays_1d",
                  0 AS "skips_1h",
                  0 AS "early_skips_1h",
                  0 AS "pauses_1h",
                  0 AS "completes_1h",
                  0 AS "listen_ms_1h",
                  CAST(NULL AS TEXT) AS "last_5_tracks"
                FROM "events" AS "t0"
                WHERE
                  "t0"."user_id" IS NOT NULL AND "t0"."event_type" = 'PLAY'
              ) AS "t2"
            ) AS "t9"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t4"."user_id",
                "t4"."event_time_ms" AS "tick_ms",
                0 AS "plays_1m",
                0 AS "plays_1h",
                0 AS "plays_1d",
                0 AS "skips_1h",
                0 AS "early_skips_1h",
                0 AS "pauses_1h",
                0 AS "completes_1h",
                0 AS "listen_ms_1h",
                CONCAT_WS(
                  '',
                  CAST("t4"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t4"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t4"."kafka_offset" + 1000000000000000 AS TEXT),
                  ARRAY_TO_STRING("t4"."names", '\x1f')
                ) AS "last_5_tracks"
              FROM (
                SELECT
                  "t1"."event_id",
                  "t1"."user_id",
                  "t1"."track_id",
                  "t1"."artist_id",
                  "t1"."event_type",
                  "t1"."event_time_ms",
                  "t1"."position_ms",
                  "t1"."ms_played",
                  "t1"."duration_ms",
                  "t1"."content_type",
                  "t1"."context",
                  "t1"."request_id",
                  "t1"."device",
                  "t1"."country",
                  "t1"."client_version",
                  "t1"."kafka_partition",
                  "t1"."kafka_offset",
                  "t1"."late",
                  ARRAY_AGG("t1"."track_id") FILTER(WHERE
                    "t1"."track_id" IS NOT NULL) OVER (
                    PARTITION BY "t1"."user_id"
                    ORDER BY "t1"."event_time_ms" DESC, "t1"."kafka_partition" DESC, "t1"."kafka_offset" DESC
                    ROWS BETWEEN CURRENT ROW AND 4 following
                  ) AS "names"
                FROM (
                  SELECT
                    *
                  FROM "events" AS "t0"
                  WHERE
                    "t0"."user_id" IS NOT NULL
                    AND "t0"."event_type" = 'PLAY'
                    AND "t0"."track_id" IS NOT NULL
                ) AS "t1"
              ) AS "t4"
            ) AS "t10"
          ) AS "t11"
        ) AS "t12"
        GROUP BY
          1,
          2
      ) AS "t13"
    ) AS "t14"
  ) AS "t15"
) AS "t16"
