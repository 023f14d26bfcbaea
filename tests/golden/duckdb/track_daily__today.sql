SELECT
  "t9"."track_id",
  (
    "t9"."tick_ms" - (
      "t9"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t9"."plays",
  "t9"."skips",
  "t9"."listen_ms",
  "t9"."episode_plays"
FROM (
  SELECT
    "t8"."track_id",
    "t8"."tick_ms",
    SUM("t8"."plays") OVER (
      PARTITION BY "t8"."track_id"
      ORDER BY "t8"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays",
    SUM("t8"."skips") OVER (
      PARTITION BY "t8"."track_id"
      ORDER BY "t8"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips",
    SUM("t8"."listen_ms") OVER (
      PARTITION BY "t8"."track_id"
      ORDER BY "t8"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms",
    SUM("t8"."episode_plays") OVER (
      PARTITION BY "t8"."track_id"
      ORDER BY "t8"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "episode_plays"
  FROM (
    SELECT
      "t7"."track_id",
      "t7"."tick_ms",
      "t7"."plays",
      "t7"."skips",
      "t7"."listen_ms",
      "t7"."episode_plays",
      (
        "t7"."tick_ms" - (
          "t7"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t6".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t5"."track_id",
          "t5"."second",
          MAX("t5"."tick_ms") AS "tick_ms",
          SUM("t5"."plays") AS "plays",
          SUM("t5"."skips") AS "skips",
          SUM("t5"."listen_ms") AS "listen_ms",
          SUM("t5"."episode_plays") AS "episode_plays"
        FROM (
          SELECT
            "t4"."track_id",
            "t4"."tick_ms",
            "t4"."plays",
            "t4"."skips",
            "t4"."listen_ms",
            "t4"."episode_plays",
            (
              "t4"."tick_ms" - (
                "t4"."tick_ms" % 1000
              )
            ) + 1000 AS "second"
          FROM (
            SELECT
              "t3"."track_id",
              "t3"."event_time_ms" AS "tick_ms",
              CASE WHEN "t3"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays",
              CASE WHEN "t3"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips",
              CASE
                WHEN "t3"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                THEN COALESCE("t3"."ms_played", 0)
                ELSE 0
              END AS "listen_ms",
              CASE
                WHEN (
                  "t3"."event_type" = 'PLAY'
                )
                AND (
                  (
                    "t3"."content_type" = 'PODCAST_EPISODE'
                  )
                  OR (
                    "t3"."content_type" = 'AUDIOBOOK_CHAPTER'
                  )
                )
                THEN 1
                ELSE 0
              END AS "episode_plays"
            FROM (
              SELECT
                *
              FROM (
                SELECT
                  "t1"."event_id",
                  "t1"."user_id",
                  CONCAT_WS(
                    '|',
                    "t1"."track_id",
                    CAST("t1"."event_time_ms" - (
                      "t1"."event_time_ms" % 86400000
                    ) AS TEXT)
                  ) AS "track_id",
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
                  "t1"."late"
                FROM (
                  SELECT
                    *
                  FROM "events" AS "t0"
                  WHERE
                    NOT "t0"."track_id" IS NULL
                ) AS "t1"
              ) AS "t2"
              WHERE
                (
                  "t2"."event_type" = 'PLAY'
                )
                OR (
                  "t2"."event_type" = 'SKIP'
                )
                OR "t2"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                OR (
                  (
                    "t2"."event_type" = 'PLAY'
                  )
                  AND (
                    (
                      "t2"."content_type" = 'PODCAST_EPISODE'
                    )
                    OR (
                      "t2"."content_type" = 'AUDIOBOOK_CHAPTER'
                    )
                  )
                )
            ) AS "t3"
          ) AS "t4"
        ) AS "t5"
        GROUP BY
          1,
          2
      ) AS "t6"
    ) AS "t7"
  ) AS "t8"
) AS "t9"
