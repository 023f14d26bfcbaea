SELECT
  "t12"."user_id",
  "t12"."event_timestamp_ms",
  CASE
    WHEN "t12"."event_timestamp_ms" <= (
      "t12"."last_event_ms" + 1800000
    )
    THEN "t12"."opened_ms"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_start",
  CASE
    WHEN "t12"."event_timestamp_ms" <= (
      "t12"."last_event_ms" + 1800000
    )
    THEN "t12"."total_session_plays" - "t12"."before_session_plays"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_plays",
  CASE
    WHEN "t12"."event_timestamp_ms" <= (
      "t12"."last_event_ms" + 1800000
    )
    THEN "t12"."total_session_skips" - "t12"."before_session_skips"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_skips",
  CASE
    WHEN "t12"."event_timestamp_ms" <= (
      "t12"."last_event_ms" + 1800000
    )
    THEN "t12"."total_session_listen_ms" - "t12"."before_session_listen_ms"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_listen_ms"
FROM (
  SELECT
    "t11"."user_id",
    "t11"."tick_ms",
    "t11"."last_event_ms",
    "t11"."opened_ms",
    "t11"."total_events",
    "t11"."total_session_plays",
    "t11"."total_session_skips",
    "t11"."total_session_listen_ms",
    "t11"."before_events",
    "t11"."before_session_plays",
    "t11"."before_session_skips",
    "t11"."before_session_listen_ms",
    (
      "t11"."tick_ms" - (
        "t11"."tick_ms" % 1000
      )
    ) + 1000 AS "event_timestamp_ms"
  FROM (
    SELECT
      "t10".*
      EXCLUDE ("second")
    FROM (
      SELECT
        "t9"."user_id",
        "t9"."second",
        MAX("t9"."tick_ms") AS "tick_ms",
        MAX("t9"."last_event_ms") AS "last_event_ms",
        MAX("t9"."opened_ms") AS "opened_ms",
        MAX("t9"."total_events") AS "total_events",
        MAX("t9"."total_session_plays") AS "total_session_plays",
        MAX("t9"."total_session_skips") AS "total_session_skips",
        MAX("t9"."total_session_listen_ms") AS "total_session_listen_ms",
        MAX("t9"."before_events") AS "before_events",
        MAX("t9"."before_session_plays") AS "before_session_plays",
        MAX("t9"."before_session_skips") AS "before_session_skips",
        MAX("t9"."before_session_listen_ms") AS "before_session_listen_ms"
      FROM (
        SELECT
          "t8"."user_id",
          "t8"."tick_ms",
          "t8"."last_event_ms",
          "t8"."opened_ms",
          "t8"."total_events",
          "t8"."total_session_plays",
          "t8"."total_session_skips",
          "t8"."total_session_listen_ms",
          "t8"."before_events",
          "t8"."before_session_plays",
          "t8"."before_session_skips",
          "t8"."before_session_listen_ms",
          NOT (
            "t8"."is_entry"
          )
          AND (
            "t8"."tick_ms" = (
              "t8"."last_event_ms" + 1800000
            )
          ) AS "ends",
          (
            "t8"."tick_ms" - (
              "t8"."tick_ms" % 1000
            )
          ) + 1000 AS "second"
        FROM (
          SELECT
            "t7"."user_id",
            "t7"."tick_ms",
            "t7"."last_event_ms" IS NOT NULL AS "is_entry",
            MAX("t7"."last_event_ms") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "last_event_ms",
            MAX("t7"."opened_ms") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "opened_ms",
            MAX("t7"."total_events") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "total_events",
            MAX("t7"."total_session_plays") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "total_session_plays",
            MAX("t7"."total_session_skips") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "total_session_skips",
            MAX("t7"."total_session_listen_ms") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "total_session_listen_ms",
            MAX("t7"."before_events") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "before_events",
            MAX("t7"."before_session_plays") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "before_session_plays",
            MAX("t7"."before_session_skips") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "before_session_skips",
            MAX("t7"."before_session_listen_ms") OVER (
              PARTITION BY "t7"."user_id"
              ORDER BY "t7"."tick_ms" ASC
              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "before_session_listen_ms"
          FROM (
            SELECT
              *
            FROM (
              SELECT
                "t5"."user_id",
                "t5"."event_time_ms" AS "tick_ms",
                "t5"."event_time_ms" AS "last_event_ms",
                "t5"."opened_ms",
                "t5"."total_events",
                "t5"."total_session_plays",
                "t5"."total_session_skips",
                "t5"."total_session_listen_ms",
                CASE
                  WHEN "t5"."opened_ms" IS NOT NULL
                  THEN "t5"."total_events" - "t5"."own_events"
                  ELSE CAST(NULL AS BIGINT)
                END AS "before_events",
                CASE
                  WHEN "t5"."opened_ms" IS NOT NULL
                  THEN "t5"."total_session_plays" - "t5"."own_session_plays"
                  ELSE CAST(NULL AS BIGINT)
                END AS "before_session_plays",
                CASE
                  WHEN "t5"."opened_ms" IS NOT NULL
                  THEN "t5"."total_session_skips" - "t5"."own_session_skips"
                  ELSE CAST(NULL AS BIGINT)
                END AS "before_session_skips",
                CASE
                  WHEN "t5"."opened_ms" IS NOT NULL
                  THEN "t5"."total_session_listen_ms" - "t5"."own_session_listen_ms"
                  ELSE CAST(NULL AS BIGINT)
                END AS "before_session_listen_ms"
              FROM (
                SELECT
                  "t4"."user_id",
                  "t4"."event_time_ms",
                  "t4"."opened_ms",
                  "t4"."own_events",
                  "t4"."own_session_plays",
                  "t4"."own_session_skips",
                  "t4"."own_session_listen_ms",
                  SUM("t4"."own_events") OVER (
                    PARTITION BY "t4"."user_id"
                    ORDER BY "t4"."event_time_ms" ASC, "t4"."kafka_partition" ASC, "t4"."kafka_offset" ASC
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_events",
                  SUM("t4"."own_session_plays") OVER (
                    PARTITION BY "t4"."user_id"
                    ORDER BY "t4"."event_time_ms" ASC, "t4"."kafka_partition" ASC, "t4"."kafka_offset" ASC
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_plays",
                  SUM("t4"."own_session_skips") OVER (
                    PARTITION BY "t4"."user_id"
                    ORDER BY "t4"."event_time_ms" ASC, "t4"."kafka_partition" ASC, "t4"."kafka_offset" ASC
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_skips",
                  SUM("t4"."own_session_listen_ms") OVER (
                    PARTITION BY "t4"."user_id"
                    ORDER BY "t4"."event_time_ms" ASC, "t4"."kafka_partition" ASC, "t4"."kafka_offset" ASC
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_listen_ms"
                FROM (
                  SELECT
                    "t3"."user_id",
                    "t3"."event_time_ms",
                    "t3"."kafka_partition",
                    "t3"."kafka_offset",
                    "t3"."previous_ms",
                    "t3"."own_events",
                    "t3"."own_session_plays",
                    "t3"."own_session_skips",
                    "t3"."own_session_listen_ms",
                    CASE
                      WHEN (
                        "t3"."event_time_ms" - "t3"."previous_ms"
                      ) > 1800000
                      THEN "t3"."event_time_ms"
                      ELSE CAST(NULL AS BIGINT)
                    END AS "opened_ms"
                  FROM (
                    SELECT
                      "t1"."user_id",
                      "t1"."event_time_ms",
                      "t1"."kafka_partition",
                      "t1"."kafka_offset",
                      SUM("t1"."event_time_ms") OVER (
                        PARTITION BY "t1"."user_id"
                        ORDER BY "t1"."event_time_ms" ASC, "t1"."kafka_partition" ASC, "t1"."kafka_offset" ASC
                        ROWS BETWEEN 1 preceding AND CURRENT ROW
                      ) - "t1"."event_time_ms" AS "previous_ms",
                      CASE WHEN "t1"."event_time_ms" IS NOT NULL THEN 1 ELSE 0 END AS "own_events",
                      CASE WHEN "t1"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "own_session_plays",
                      CASE WHEN "t1"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "own_session_skips",
                      CASE
                        WHEN "t1"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                        THEN COALESCE("t1"."ms_played", 0)
                        ELSE 0
                      END AS "own_session_listen_ms"
                    FROM (
                      SELECT
                        *
                      FROM "events" AS "t0"
                      WHERE
                        "t0"."user_id" IS NOT NULL
                    ) AS "t1"
                  ) AS "t3"
                ) AS "t4"
              ) AS "t5"
            ) AS "t6"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t0"."user_id",
                "t0"."event_time_ms" + 1800000 AS "tick_ms",
                CAST(NULL AS BIGINT) AS "last_event_ms",
                CAST(NULL AS BIGINT) AS "opened_ms",
                CAST(NULL AS BIGINT) AS "total_events",
                CAST(NULL AS BIGINT) AS "total_session_plays",
                CAST(NULL AS BIGINT) AS "total_session_skips",
                CAST(NULL AS BIGINT) AS "total_session_listen_ms",
                CAST(NULL AS BIGINT) AS "before_events",
                CAST(NULL AS BIGINT) AS "before_session_plays",
                CAST(NULL AS BIGINT) AS "before_session_skips",
                CAST(NULL AS BIGINT) AS "before_session_listen_ms"
              FROM "events" AS "t0"
              WHERE
                "t0"."user_id" IS NOT NULL
            ) AS "t2"
          ) AS "t7"
        ) AS "t8"
        WHERE
          "t8"."is_entry"
          OR (
            NOT (
              "t8"."is_entry"
            )
            AND (
              "t8"."tick_ms" = (
                "t8"."last_event_ms" + 1800000
              )
            )
          )
      ) AS "t9"
      GROUP BY
        1,
        2
    ) AS "t10"
  ) AS "t11"
) AS "t12"
