WITH "t1" AS (
  SELECT
    *
  FROM "events" AS "t0"
  WHERE
    NOT "t0"."user_id" IS NULL
)
SELECT
  "t16"."user_id",
  "t16"."event_timestamp_ms",
  CASE
    WHEN "t16"."event_timestamp_ms" <= (
      "t16"."last_event_ms" + 1800000
    )
    THEN "t16"."opened_ms"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_start",
  CASE
    WHEN "t16"."event_timestamp_ms" <= (
      "t16"."last_event_ms" + 1800000
    )
    THEN "t16"."total_session_plays" - "t16"."before_session_plays"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_plays",
  CASE
    WHEN "t16"."event_timestamp_ms" <= (
      "t16"."last_event_ms" + 1800000
    )
    THEN "t16"."total_session_skips" - "t16"."before_session_skips"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_skips",
  CASE
    WHEN "t16"."event_timestamp_ms" <= (
      "t16"."last_event_ms" + 1800000
    )
    THEN "t16"."total_session_listen_ms" - "t16"."before_session_listen_ms"
    ELSE CAST(NULL AS BIGINT)
  END AS "session_listen_ms"
FROM (
  SELECT
    "t15"."user_id",
    "t15"."tick_ms",
    "t15"."last_event_ms",
    "t15"."opened_ms",
    "t15"."total_events",
    "t15"."total_session_plays",
    "t15"."total_session_skips",
    "t15"."total_session_listen_ms",
    "t15"."before_events",
    "t15"."before_session_plays",
    "t15"."before_session_skips",
    "t15"."before_session_listen_ms",
    (
      "t15"."tick_ms" - (
        "t15"."tick_ms" % 1000
      )
    ) + 1000 AS "event_timestamp_ms"
  FROM (
    SELECT
      "t14".*
      EXCLUDE ("second")
    FROM (
      SELECT
        "t13"."user_id",
        "t13"."second",
        MAX("t13"."tick_ms") AS "tick_ms",
        MAX("t13"."last_event_ms") AS "last_event_ms",
        MAX("t13"."opened_ms") AS "opened_ms",
        MAX("t13"."total_events") AS "total_events",
        MAX("t13"."total_session_plays") AS "total_session_plays",
        MAX("t13"."total_session_skips") AS "total_session_skips",
        MAX("t13"."total_session_listen_ms") AS "total_session_listen_ms",
        MAX("t13"."before_events") AS "before_events",
        MAX("t13"."before_session_plays") AS "before_session_plays",
        MAX("t13"."before_session_skips") AS "before_session_skips",
        MAX("t13"."before_session_listen_ms") AS "before_session_listen_ms"
      FROM (
        SELECT
          "t12"."user_id",
          "t12"."tick_ms",
          "t12"."last_event_ms",
          "t12"."opened_ms",
          "t12"."total_events",
          "t12"."total_session_plays",
          "t12"."total_session_skips",
          "t12"."total_session_listen_ms",
          "t12"."before_events",
          "t12"."before_session_plays",
          "t12"."before_session_skips",
          "t12"."before_session_listen_ms",
          "t12"."ends",
          (
            "t12"."tick_ms" - (
              "t12"."tick_ms" % 1000
            )
          ) + 1000 AS "second"
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
            "t11"."ends"
          FROM (
            SELECT
              *
            FROM (
              SELECT
                "t9"."user_id",
                "t9"."tick_ms",
                "t9"."is_entry",
                "t9"."last_event_ms",
                "t9"."opened_ms",
                "t9"."total_events",
                "t9"."total_session_plays",
                "t9"."total_session_skips",
                "t9"."total_session_listen_ms",
                "t9"."before_events",
                "t9"."before_session_plays",
                "t9"."before_session_skips",
                "t9"."before_session_listen_ms",
                NOT (
                  "t9"."is_entry"
                )
                AND (
                  "t9"."tick_ms" = (
                    "t9"."last_event_ms" + 1800000
                  )
                ) AS "ends"
              FROM (
                SELECT
                  "t8"."user_id",
                  "t8"."tick_ms",
                  NOT "t8"."last_event_ms" IS NULL AS "is_entry",
                  MAX("t8"."last_event_ms") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "last_event_ms",
                  MAX("t8"."opened_ms") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "opened_ms",
                  MAX("t8"."total_events") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_events",
                  MAX("t8"."total_session_plays") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_plays",
                  MAX("t8"."total_session_skips") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_skips",
                  MAX("t8"."total_session_listen_ms") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "total_session_listen_ms",
                  MAX("t8"."before_events") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "before_events",
                  MAX("t8"."before_session_plays") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "before_session_plays",
                  MAX("t8"."before_session_skips") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "before_session_skips",
                  MAX("t8"."before_session_listen_ms") OVER (
                    PARTITION BY "t8"."user_id"
                    ORDER BY "t8"."tick_ms" ASC
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS "before_session_listen_ms"
                FROM (
                  SELECT
                    *
                  FROM (
                    SELECT
                      "t6"."user_id",
                      "t6"."event_time_ms" AS "tick_ms",
                      "t6"."event_time_ms" AS "last_event_ms",
                      "t6"."opened_ms",
                      "t6"."total_events",
                      "t6"."total_session_plays",
                      "t6"."total_session_skips",
                      "t6"."total_session_listen_ms",
                      CASE
                        WHEN NOT "t6"."opened_ms" IS NULL
                        THEN "t6"."total_events" - "t6"."own_events"
                        ELSE CAST(NULL AS BIGINT)
                      END AS "before_events",
                      CASE
                        WHEN NOT "t6"."opened_ms" IS NULL
                        THEN "t6"."total_session_plays" - "t6"."own_session_plays"
                        ELSE CAST(NULL AS BIGINT)
                      END AS "before_session_plays",
                      CASE
                        WHEN NOT "t6"."opened_ms" IS NULL
                        THEN "t6"."total_session_skips" - "t6"."own_session_skips"
                        ELSE CAST(NULL AS BIGINT)
                      END AS "before_session_skips",
                      CASE
                        WHEN NOT "t6"."opened_ms" IS NULL
                        THEN "t6"."total_session_listen_ms" - "t6"."own_session_listen_ms"
                        ELSE CAST(NULL AS BIGINT)
                      END AS "before_session_listen_ms"
                    FROM (
                      SELECT
                        "t5"."user_id",
                        "t5"."event_time_ms",
                        "t5"."opened_ms",
                        "t5"."own_events",
                        "t5"."own_session_plays",
                        "t5"."own_session_skips",
                        "t5"."own_session_listen_ms",
                        SUM("t5"."own_events") OVER (
                          PARTITION BY "t5"."user_id"
                          ORDER BY "t5"."event_time_ms" ASC, "t5"."kafka_partition" ASC, "t5"."kafka_offset" ASC
                          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ) AS "total_events",
                        SUM("t5"."own_session_plays") OVER (
                          PARTITION BY "t5"."user_id"
                          ORDER BY "t5"."event_time_ms" ASC, "t5"."kafka_partition" ASC, "t5"."kafka_offset" ASC
                          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ) AS "total_session_plays",
                        SUM("t5"."own_session_skips") OVER (
                          PARTITION BY "t5"."user_id"
                          ORDER BY "t5"."event_time_ms" ASC, "t5"."kafka_partition" ASC, "t5"."kafka_offset" ASC
                          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ) AS "total_session_skips",
                        SUM("t5"."own_session_listen_ms") OVER (
                          PARTITION BY "t5"."user_id"
                          ORDER BY "t5"."event_time_ms" ASC, "t5"."kafka_partition" ASC, "t5"."kafka_offset" ASC
                          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ) AS "total_session_listen_ms"
                      FROM (
                        SELECT
                          "t4"."user_id",
                          "t4"."event_time_ms",
                          "t4"."kafka_partition",
                          "t4"."kafka_offset",
                          "t4"."previous_ms",
                          "t4"."own_events",
                          "t4"."own_session_plays",
                          "t4"."own_session_skips",
                          "t4"."own_session_listen_ms",
                          CASE
                            WHEN (
                              "t4"."event_time_ms" - "t4"."previous_ms"
                            ) > 1800000
                            THEN "t4"."event_time_ms"
                            ELSE CAST(NULL AS BIGINT)
                          END AS "opened_ms"
                        FROM (
                          SELECT
                            "t2"."user_id",
                            "t2"."event_time_ms",
                            "t2"."kafka_partition",
                            "t2"."kafka_offset",
                            SUM("t2"."event_time_ms") OVER (
                              PARTITION BY "t2"."user_id"
                              ORDER BY "t2"."event_time_ms" ASC, "t2"."kafka_partition" ASC, "t2"."kafka_offset" ASC
                              ROWS BETWEEN 1 preceding AND CURRENT ROW
                            ) - "t2"."event_time_ms" AS "previous_ms",
                            CASE WHEN NOT "t2"."event_time_ms" IS NULL THEN 1 ELSE 0 END AS "own_events",
                            CASE WHEN "t2"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "own_session_plays",
                            CASE WHEN "t2"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "own_session_skips",
                            CASE
                              WHEN "t2"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                              THEN COALESCE("t2"."ms_played", 0)
                              ELSE 0
                            END AS "own_session_listen_ms"
                          FROM "t1" AS "t2"
                        ) AS "t4"
                      ) AS "t5"
                    ) AS "t6"
                  ) AS "t7"
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      "t2"."user_id",
                      "t2"."event_time_ms" + 1800000 AS "tick_ms",
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
                    FROM "t1" AS "t2"
                  ) AS "t3"
                ) AS "t8"
              ) AS "t9"
            ) AS "t10"
            WHERE
              "t10"."is_entry" OR "t10"."ends"
          ) AS "t11"
        ) AS "t12"
      ) AS "t13"
      GROUP BY
        1,
        2
    ) AS "t14"
  ) AS "t15"
) AS "t16"
