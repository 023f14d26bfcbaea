WITH "t6" AS (
  SELECT
    *
  FROM (
    SELECT
      "t2"."event_id",
      "t2"."user_id",
      "t2"."track_id",
      "t2"."artist_id",
      "t2"."event_type",
      "t2"."event_time_ms",
      "t2"."position_ms",
      "t2"."ms_played",
      "t2"."duration_ms",
      "t2"."content_type",
      "t2"."context",
      "t2"."request_id",
      "t2"."device",
      "t2"."country",
      "t2"."client_version",
      "t2"."kafka_partition",
      "t2"."kafka_offset",
      "t2"."late",
      "t4"."track_valence",
      "t4"."track_energy"
    FROM "events" AS "t2"
    LEFT OUTER JOIN (
      SELECT
        "t1"."track_id" AS "dimension_key",
        "t1"."valid_from_ms" AS "dimension_since",
        COALESCE(
          LEAD("t1"."valid_from_ms") OVER (
            PARTITION BY "t1"."track_id"
            ORDER BY "t1"."valid_from_ms" ASC
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
          ),
          4611686018427387904
        ) AS "dimension_until",
        "t1"."valence" AS "track_valence",
        "t1"."energy" AS "track_energy"
      FROM "dimension_track" AS "t1"
    ) AS "t4"
      ON "t2"."track_id" = "t4"."dimension_key"
      AND "t2"."event_time_ms" >= "t4"."dimension_since"
      AND "t2"."event_time_ms" < "t4"."dimension_until"
  ) AS "t5"
  WHERE
    NOT "t5"."user_id" IS NULL
), "t8" AS (
  SELECT
    *
  FROM "t6" AS "t7"
  WHERE
    "t7"."event_type" = 'PLAY'
), "t18" AS (
  SELECT
    "t12"."user_id",
    "t12"."event_time_ms",
    SUM("t12"."event_time_ms") OVER (
      PARTITION BY "t12"."user_id", "t12"."distinct_value"
      ORDER BY "t12"."event_time_ms" ASC, "t12"."kafka_partition" ASC, "t12"."kafka_offset" ASC
      ROWS BETWEEN 1 preceding AND CURRENT ROW
    ) - "t12"."event_time_ms" AS "previous_ms"
  FROM (
    SELECT
      "t9"."event_id",
      "t9"."user_id",
      "t9"."track_id",
      "t9"."artist_id",
      "t9"."event_type",
      "t9"."event_time_ms",
      "t9"."position_ms",
      "t9"."ms_played",
      "t9"."duration_ms",
      "t9"."content_type",
      "t9"."context",
      "t9"."request_id",
      "t9"."device",
      "t9"."country",
      "t9"."client_version",
      "t9"."kafka_partition",
      "t9"."kafka_offset",
      "t9"."late",
      "t9"."track_valence",
      "t9"."track_energy",
      "t9"."artist_id" AS "distinct_value"
    FROM (
      SELECT
        *
      FROM "t6" AS "t7"
      WHERE
        "t7"."event_type" = 'PLAY' AND NOT "t7"."artist_id" IS NULL
    ) AS "t9"
  ) AS "t12"
)
SELECT
  "t43"."user_id",
  (
    "t43"."tick_ms" - (
      "t43"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t43"."plays_1m",
  "t43"."plays_1h",
  "t43"."plays_1d",
  "t43"."skips_1h",
  "t43"."early_skips_1h",
  "t43"."pauses_1h",
  "t43"."completes_1h",
  "t43"."likes_1d",
  "t43"."listen_ms_1h",
  "t43"."ends_1h",
  "t43"."kept_30s_1h",
  "t43"."artists_1h",
  CASE
    WHEN "t43"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t43"."skips_1h" AS DOUBLE) / CAST("t43"."plays_1h" AS DOUBLE)
  END AS "skip_rate_1h",
  CASE
    WHEN "t43"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t43"."early_skips_1h" AS DOUBLE) / CAST("t43"."plays_1h" AS DOUBLE)
  END AS "early_skip_rate_1h",
  CASE
    WHEN "t43"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t43"."completes_1h" AS DOUBLE) / CAST("t43"."plays_1h" AS DOUBLE)
  END AS "completion_rate_1h",
  CASE
    WHEN "t43"."ends_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t43"."kept_30s_1h" AS DOUBLE) / CAST("t43"."ends_1h" AS DOUBLE)
  END AS "retention_30s_1h",
  LIST_SLICE(
    STR_SPLIT(
      SUBSTRING(
        "t43"."last_5_tracks",
        CASE
          WHEN (
            39 + 1
          ) >= 1
          THEN 39 + 1
          ELSE 39 + 1 + LENGTH("t43"."last_5_tracks")
        END
      ),
      '\x1f'
    ),
    1,
    5
  ) AS "last_5_tracks",
  STR_SPLIT(
    SUBSTRING(
      "t43"."last_5_tracks",
      CASE
        WHEN (
          39 + 1
        ) >= 1
        THEN 39 + 1
        ELSE 39 + 1 + LENGTH("t43"."last_5_tracks")
      END
    ),
    '\x1f'
  ) AS "last_20_tracks",
  CASE
    WHEN COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        2
      ) AS BIGINT),
      0
    ) = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        1
      ) AS BIGINT),
      0
    ) AS DOUBLE) / CAST(COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        2
      ) AS BIGINT),
      0
    ) AS DOUBLE)
  END AS "valence_last_20",
  CASE
    WHEN COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        4
      ) AS BIGINT),
      0
    ) = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        3
      ) AS BIGINT),
      0
    ) AS DOUBLE) / CAST(COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t43"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t43"."valence_last_20__sum")
            END
          ),
          '\x1f'
        ),
        4
      ) AS BIGINT),
      0
    ) AS DOUBLE)
  END AS "energy_last_20"
FROM (
  SELECT
    "t42"."user_id",
    "t42"."tick_ms",
    SUM("t42"."plays_1m") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1m",
    SUM("t42"."plays_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t42"."plays_1d") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d",
    SUM("t42"."skips_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips_1h",
    SUM("t42"."early_skips_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "early_skips_1h",
    SUM("t42"."pauses_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "pauses_1h",
    SUM("t42"."completes_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "completes_1h",
    SUM("t42"."likes_1d") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "likes_1d",
    SUM("t42"."listen_ms_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms_1h",
    SUM("t42"."ends_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "ends_1h",
    SUM("t42"."kept_30s_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "kept_30s_1h",
    SUM("t42"."artists_1h") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "artists_1h",
    MAX("t42"."last_5_tracks") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "last_5_tracks",
    MAX("t42"."valence_last_20__sum") OVER (
      PARTITION BY "t42"."user_id"
      ORDER BY "t42"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "valence_last_20__sum"
  FROM (
    SELECT
      "t41"."user_id",
      "t41"."tick_ms",
      "t41"."plays_1m",
      "t41"."plays_1h",
      "t41"."plays_1d",
      "t41"."skips_1h",
      "t41"."early_skips_1h",
      "t41"."pauses_1h",
      "t41"."completes_1h",
      "t41"."likes_1d",
      "t41"."listen_ms_1h",
      "t41"."ends_1h",
      "t41"."kept_30s_1h",
      "t41"."artists_1h",
      "t41"."last_5_tracks",
      "t41"."valence_last_20__sum",
      (
        "t41"."tick_ms" - (
          "t41"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t40".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t39"."user_id",
          "t39"."second",
          MAX("t39"."tick_ms") AS "tick_ms",
          SUM("t39"."plays_1m") AS "plays_1m",
          SUM("t39"."plays_1h") AS "plays_1h",
          SUM("t39"."plays_1d") AS "plays_1d",
          SUM("t39"."skips_1h") AS "skips_1h",
          SUM("t39"."early_skips_1h") AS "early_skips_1h",
          SUM("t39"."pauses_1h") AS "pauses_1h",
          SUM("t39"."completes_1h") AS "completes_1h",
          SUM("t39"."likes_1d") AS "likes_1d",
          SUM("t39"."listen_ms_1h") AS "listen_ms_1h",
          SUM("t39"."ends_1h") AS "ends_1h",
          SUM("t39"."kept_30s_1h") AS "kept_30s_1h",
          SUM("t39"."artists_1h") AS "artists_1h",
          MAX("t39"."last_5_tracks") AS "last_5_tracks",
          MAX("t39"."valence_last_20__sum") AS "valence_last_20__sum"
        FROM (
          SELECT
            "t38"."user_id",
            "t38"."tick_ms",
            "t38"."plays_1m",
            "t38"."plays_1h",
            "t38"."plays_1d",
            "t38"."skips_1h",
            "t38"."early_skips_1h",
            "t38"."pauses_1h",
            "t38"."completes_1h",
            "t38"."likes_1d",
            "t38"."listen_ms_1h",
            "t38"."ends_1h",
            "t38"."kept_30s_1h",
            "t38"."artists_1h",
            "t38"."last_5_tracks",
            "t38"."valence_last_20__sum",
            (
              "t38"."tick_ms" - (
                "t38"."tick_ms" % 1000
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
                              "t19"."user_id",
                              "t19"."event_time_ms" AS "tick_ms",
                              CASE WHEN "t19"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1m",
                              CASE WHEN "t19"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                              CASE WHEN "t19"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d",
                              CASE WHEN "t19"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips_1h",
                              CASE
                                WHEN (
                                  "t19"."event_type" = 'SKIP'
                                ) AND (
                                  "t19"."ms_played" < 5000
                                )
                                THEN 1
                                ELSE 0
                              END AS "early_skips_1h",
                              CASE WHEN "t19"."event_type" = 'PAUSE' THEN 1 ELSE 0 END AS "pauses_1h",
                              CASE WHEN "t19"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END AS "completes_1h",
                              CASE WHEN "t19"."event_type" = 'LIKE' THEN 1 ELSE 0 END AS "likes_1d",
                              CASE
                                WHEN "t19"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                THEN COALESCE("t19"."ms_played", 0)
                                ELSE 0
                              END AS "listen_ms_1h",
                              CASE WHEN "t19"."event_type" IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END AS "ends_1h",
                              CASE
                                WHEN "t19"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t19"."ms_played" >= 30000
                                )
                                THEN 1
                                ELSE 0
                              END AS "kept_30s_1h",
                              0 AS "artists_1h",
                              CAST(NULL AS TEXT) AS "last_5_tracks",
                              CAST(NULL AS TEXT) AS "valence_last_20__sum"
                            FROM (
                              SELECT
                                *
                              FROM "t6" AS "t7"
                              WHERE
                                (
                                  "t7"."event_type" = 'PLAY'
                                )
                                OR (
                                  "t7"."event_type" = 'SKIP'
                                )
                                OR (
                                  (
                                    "t7"."event_type" = 'SKIP'
                                  ) AND (
                                    "t7"."ms_played" < 5000
                                  )
                                )
                                OR (
                                  "t7"."event_type" = 'PAUSE'
                                )
                                OR (
                                  "t7"."event_type" = 'COMPLETE'
                                )
                                OR (
                                  "t7"."event_type" = 'LIKE'
                                )
                                OR "t7"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                OR (
                                  "t7"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                  AND (
                                    "t7"."ms_played" >= 30000
                                  )
                                )
                            ) AS "t19"
                          ) AS "t26"
                          UNION ALL
                          SELECT
                            *
                          FROM (
                            SELECT
                              "t10"."user_id",
                              "t10"."event_time_ms" + 60000 AS "tick_ms",
                              -(
                                CASE WHEN "t10"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                              ) AS "plays_1m",
                              0 AS "plays_1h",
                              0 AS "plays_1d",
                              0 AS "skips_1h",
                              0 AS "early_skips_1h",
                              0 AS "pauses_1h",
                              0 AS "completes_1h",
                              0 AS "likes_1d",
                              0 AS "listen_ms_1h",
                              0 AS "ends_1h",
                              0 AS "kept_30s_1h",
                              0 AS "artists_1h",
                              CAST(NULL AS TEXT) AS "last_5_tracks",
                              CAST(NULL AS TEXT) AS "valence_last_20__sum"
                            FROM "t8" AS "t10"
                          ) AS "t15"
                        ) AS "t28"
                        UNION ALL
                        SELECT
                          *
                        FROM (
                          SELECT
                            "t17"."user_id",
                            "t17"."event_time_ms" + 3600000 AS "tick_ms",
                            0 AS "plays_1m",
                            -(
                              CASE WHEN "t17"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                            ) AS "plays_1h",
                            0 AS "plays_1d",
                            -(
                              CASE WHEN "t17"."event_type" = 'SKIP' THEN 1 ELSE 0 END
                            ) AS "skips_1h",
                            -(
                              CASE
                                WHEN (
                                  "t17"."event_type" = 'SKIP'
                                ) AND (
                                  "t17"."ms_played" < 5000
                                )
                                THEN 1
                                ELSE 0
                              END
                            ) AS "early_skips_1h",
                            -(
                              CASE WHEN "t17"."event_type" = 'PAUSE' THEN 1 ELSE 0 END
                            ) AS "pauses_1h",
                            -(
                              CASE WHEN "t17"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END
                            ) AS "completes_1h",
                            0 AS "likes_1d",
                            -(
                              CASE
                                WHEN "t17"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                THEN COALESCE("t17"."ms_played", 0)
                                ELSE 0
                              END
                            ) AS "listen_ms_1h",
                            -(
                              CASE WHEN "t17"."event_type" IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END
                            ) AS "ends_1h",
                            -(
                              CASE
                                WHEN "t17"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t17"."ms_played" >= 30000
                                )
                                THEN 1
                                ELSE 0
                              END
                            ) AS "kept_30s_1h",
                            0 AS "artists_1h",
                            CAST(NULL AS TEXT) AS "last_5_tracks",
                            CAST(NULL AS TEXT) AS "valence_last_20__sum"
                          FROM (
                            SELECT
                              *
                            FROM "t6" AS "t7"
                            WHERE
                              (
                                "t7"."event_type" = 'PLAY'
                              )
                              OR (
                                "t7"."event_type" = 'SKIP'
                              )
                              OR (
                                (
                                  "t7"."event_type" = 'SKIP'
                                ) AND (
                                  "t7"."ms_played" < 5000
                                )
                              )
                              OR (
                                "t7"."event_type" = 'PAUSE'
                              )
                              OR (
                                "t7"."event_type" = 'COMPLETE'
                              )
                              OR "t7"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                              OR (
                                "t7"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t7"."ms_played" >= 30000
                                )
                              )
                          ) AS "t17"
                        ) AS "t25"
                      ) AS "t29"
                      UNION ALL
                      SELECT
                        *
                      FROM (
                        SELECT
                          "t11"."user_id",
                          "t11"."event_time_ms" + 86400000 AS "tick_ms",
                          0 AS "plays_1m",
                          0 AS "plays_1h",
                          -(
                            CASE WHEN "t11"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                          ) AS "plays_1d",
                          0 AS "skips_1h",
                          0 AS "early_skips_1h",
                          0 AS "pauses_1h",
                          0 AS "completes_1h",
                          -(
                            CASE WHEN "t11"."event_type" = 'LIKE' THEN 1 ELSE 0 END
                          ) AS "likes_1d",
                          0 AS "listen_ms_1h",
                          0 AS "ends_1h",
                          0 AS "kept_30s_1h",
                          0 AS "artists_1h",
                          CAST(NULL AS TEXT) AS "last_5_tracks",
                          CAST(NULL AS TEXT) AS "valence_last_20__sum"
                        FROM (
                          SELECT
                            *
                          FROM "t6" AS "t7"
                          WHERE
                            (
                              "t7"."event_type" = 'PLAY'
                            ) OR (
                              "t7"."event_type" = 'LIKE'
                            )
                        ) AS "t11"
                      ) AS "t16"
                    ) AS "t32"
                    UNION ALL
                    SELECT
                      *
                    FROM (
                      SELECT
                        "t20"."user_id",
                        "t20"."event_time_ms" AS "tick_ms",
                        0 AS "plays_1m",
                        0 AS "plays_1h",
                        0 AS "plays_1d",
                        0 AS "skips_1h",
                        0 AS "early_skips_1h",
                        0 AS "pauses_1h",
                        0 AS "completes_1h",
                        0 AS "likes_1d",
                        0 AS "listen_ms_1h",
                        0 AS "ends_1h",
                        0 AS "kept_30s_1h",
                        CASE
                          WHEN (
                            "t20"."event_time_ms" - "t20"."previous_ms"
                          ) >= 3600000
                          THEN 1
                          ELSE 0
                        END AS "artists_1h",
                        CAST(NULL AS TEXT) AS "last_5_tracks",
                        CAST(NULL AS TEXT) AS "valence_last_20__sum"
                      FROM "t18" AS "t20"
                    ) AS "t27"
                  ) AS "t33"
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      "t20"."user_id",
                      "t20"."event_time_ms" + 3600000 AS "tick_ms",
                      0 AS "plays_1m",
                      0 AS "plays_1h",
                      0 AS "plays_1d",
                      0 AS "skips_1h",
                      0 AS "early_skips_1h",
                      0 AS "pauses_1h",
                      0 AS "completes_1h",
                      0 AS "likes_1d",
                      0 AS "listen_ms_1h",
                      0 AS "ends_1h",
                      0 AS "kept_30s_1h",
                      -(
                        1
                      ) AS "artists_1h",
                      CAST(NULL AS TEXT) AS "last_5_tracks",
                      CAST(NULL AS TEXT) AS "valence_last_20__sum"
                    FROM "t18" AS "t20"
                  ) AS "t22"
                ) AS "t34"
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    "t24"."user_id",
                    "t24"."previous_ms" + 3600000 AS "tick_ms",
                    0 AS "plays_1m",
                    0 AS "plays_1h",
                    0 AS "plays_1d",
                    0 AS "skips_1h",
                    0 AS "early_skips_1h",
                    0 AS "pauses_1h",
                    0 AS "completes_1h",
                    0 AS "likes_1d",
                    0 AS "listen_ms_1h",
                    0 AS "ends_1h",
                    0 AS "kept_30s_1h",
                    1 AS "artists_1h",
                    CAST(NULL AS TEXT) AS "last_5_tracks",
                    CAST(NULL AS TEXT) AS "valence_last_20__sum"
                  FROM (
                    SELECT
                      *
                    FROM "t18" AS "t20"
                    WHERE
                      (
                        "t20"."event_time_ms" - "t20"."previous_ms"
                      ) < 3600000
                  ) AS "t24"
                ) AS "t31"
              ) AS "t36"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t21"."user_id",
                  "t21"."event_time_ms" AS "tick_ms",
                  0 AS "plays_1m",
                  0 AS "plays_1h",
                  0 AS "plays_1d",
                  0 AS "skips_1h",
                  0 AS "early_skips_1h",
                  0 AS "pauses_1h",
                  0 AS "completes_1h",
                  0 AS "likes_1d",
                  0 AS "listen_ms_1h",
                  0 AS "ends_1h",
                  0 AS "kept_30s_1h",
                  0 AS "artists_1h",
                  CONCAT_WS(
                    '',
                    CAST("t21"."event_time_ms" + 1000000000000000 AS TEXT),
                    CAST(CAST("t21"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                    CAST("t21"."kafka_offset" + 1000000000000000 AS TEXT),
                    "t21"."held"
                  ) AS "last_5_tracks",
                  CAST(NULL AS TEXT) AS "valence_last_20__sum"
                FROM (
                  SELECT
                    "t14"."event_id",
                    "t14"."user_id",
                    "t14"."track_id",
                    "t14"."artist_id",
                    "t14"."event_type",
                    "t14"."event_time_ms",
                    "t14"."position_ms",
                    "t14"."ms_played",
                    "t14"."duration_ms",
                    "t14"."content_type",
                    "t14"."context",
                    "t14"."request_id",
                    "t14"."device",
                    "t14"."country",
                    "t14"."client_version",
                    "t14"."kafka_partition",
                    "t14"."kafka_offset",
                    "t14"."late",
                    "t14"."track_valence",
                    "t14"."track_energy",
                    ARRAY_TO_STRING(
                      ARRAY_AGG("t14"."track_id") FILTER(WHERE
                        NOT "t14"."track_id" IS NULL) OVER (
                        PARTITION BY "t14"."user_id"
                        ORDER BY "t14"."event_time_ms" DESC, "t14"."kafka_partition" DESC, "t14"."kafka_offset" DESC
                        ROWS BETWEEN CURRENT ROW AND 19 following
                      ),
                      '\x1f'
                    ) AS "held"
                  FROM (
                    SELECT
                      *
                    FROM "t8" AS "t10"
                    WHERE
                      "t10"."event_type" = 'PLAY' AND NOT "t10"."track_id" IS NULL
                  ) AS "t14"
                ) AS "t21"
              ) AS "t30"
            ) AS "t37"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t23"."user_id",
                "t23"."event_time_ms" AS "tick_ms",
                0 AS "plays_1m",
                0 AS "plays_1h",
                0 AS "plays_1d",
                0 AS "skips_1h",
                0 AS "early_skips_1h",
                0 AS "pauses_1h",
                0 AS "completes_1h",
                0 AS "likes_1d",
                0 AS "listen_ms_1h",
                0 AS "ends_1h",
                0 AS "kept_30s_1h",
                0 AS "artists_1h",
                CAST(NULL AS TEXT) AS "last_5_tracks",
                CONCAT_WS(
                  '',
                  CAST("t23"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t23"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t23"."kafka_offset" + 1000000000000000 AS TEXT),
                  "t23"."held"
                ) AS "valence_last_20__sum"
              FROM (
                SELECT
                  "t13"."event_id",
                  "t13"."user_id",
                  "t13"."track_id",
                  "t13"."artist_id",
                  "t13"."event_type",
                  "t13"."event_time_ms",
                  "t13"."position_ms",
                  "t13"."ms_played",
                  "t13"."duration_ms",
                  "t13"."content_type",
                  "t13"."context",
                  "t13"."request_id",
                  "t13"."device",
                  "t13"."country",
                  "t13"."client_version",
                  "t13"."kafka_partition",
                  "t13"."kafka_offset",
                  "t13"."late",
                  "t13"."track_valence",
                  "t13"."track_energy",
                  CONCAT_WS(
                    '\x1f',
                    CAST(SUM(
                      CASE WHEN NOT "t13"."track_valence" IS NULL THEN "t13"."track_valence" ELSE 0 END
                    ) OVER (
                      PARTITION BY "t13"."user_id"
                      ORDER BY "t13"."event_time_ms" ASC, "t13"."kafka_partition" ASC, "t13"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN NOT "t13"."track_valence" IS NULL THEN 1 ELSE 0 END) OVER (
                      PARTITION BY "t13"."user_id"
                      ORDER BY "t13"."event_time_ms" ASC, "t13"."kafka_partition" ASC, "t13"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN NOT "t13"."track_energy" IS NULL THEN "t13"."track_energy" ELSE 0 END) OVER (
                      PARTITION BY "t13"."user_id"
                      ORDER BY "t13"."event_time_ms" ASC, "t13"."kafka_partition" ASC, "t13"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN NOT "t13"."track_energy" IS NULL THEN 1 ELSE 0 END) OVER (
                      PARTITION BY "t13"."user_id"
                      ORDER BY "t13"."event_time_ms" ASC, "t13"."kafka_partition" ASC, "t13"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT)
                  ) AS "held"
                FROM (
                  SELECT
                    *
                  FROM "t8" AS "t10"
                  WHERE
                    "t10"."event_type" = 'PLAY'
                ) AS "t13"
              ) AS "t23"
            ) AS "t35"
          ) AS "t38"
        ) AS "t39"
        GROUP BY
          1,
          2
      ) AS "t40"
    ) AS "t41"
  ) AS "t42"
) AS "t43"
