WITH "t5" AS (
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
), "t13" AS (
  SELECT
    "t9"."user_id",
    "t9"."event_time_ms",
    SUM("t9"."event_time_ms") OVER (
      PARTITION BY "t9"."user_id", "t9"."distinct_value"
      ORDER BY "t9"."event_time_ms" ASC, "t9"."kafka_partition" ASC, "t9"."kafka_offset" ASC
      ROWS BETWEEN 1 preceding AND CURRENT ROW
    ) - "t9"."event_time_ms" AS "previous_ms"
  FROM (
    SELECT
      "t6"."event_id",
      "t6"."user_id",
      "t6"."track_id",
      "t6"."artist_id",
      "t6"."event_type",
      "t6"."event_time_ms",
      "t6"."position_ms",
      "t6"."ms_played",
      "t6"."duration_ms",
      "t6"."content_type",
      "t6"."context",
      "t6"."request_id",
      "t6"."device",
      "t6"."country",
      "t6"."client_version",
      "t6"."kafka_partition",
      "t6"."kafka_offset",
      "t6"."late",
      "t6"."track_valence",
      "t6"."track_energy",
      "t6"."artist_id" AS "distinct_value"
    FROM "t5" AS "t6"
    WHERE
      "t6"."user_id" IS NOT NULL
      AND "t6"."event_type" = 'PLAY'
      AND "t6"."artist_id" IS NOT NULL
  ) AS "t9"
)
SELECT
  "t35"."user_id",
  (
    "t35"."tick_ms" - (
      "t35"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t35"."plays_1m",
  "t35"."plays_1h",
  "t35"."plays_1d",
  "t35"."skips_1h",
  "t35"."early_skips_1h",
  "t35"."pauses_1h",
  "t35"."completes_1h",
  "t35"."likes_1d",
  "t35"."listen_ms_1h",
  "t35"."ends_1h",
  "t35"."kept_30s_1h",
  "t35"."artists_1h",
  CASE
    WHEN "t35"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t35"."skips_1h" AS DOUBLE) / CAST("t35"."plays_1h" AS DOUBLE)
  END AS "skip_rate_1h",
  CASE
    WHEN "t35"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t35"."early_skips_1h" AS DOUBLE) / CAST("t35"."plays_1h" AS DOUBLE)
  END AS "early_skip_rate_1h",
  CASE
    WHEN "t35"."plays_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t35"."completes_1h" AS DOUBLE) / CAST("t35"."plays_1h" AS DOUBLE)
  END AS "completion_rate_1h",
  CASE
    WHEN "t35"."ends_1h" = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST("t35"."kept_30s_1h" AS DOUBLE) / CAST("t35"."ends_1h" AS DOUBLE)
  END AS "retention_30s_1h",
  LIST_SLICE(
    STR_SPLIT(
      SUBSTRING(
        "t35"."last_5_tracks",
        CASE
          WHEN (
            39 + 1
          ) >= 1
          THEN 39 + 1
          ELSE 39 + 1 + LENGTH("t35"."last_5_tracks")
        END
      ),
      '\x1f'
    ),
    1,
    5
  ) AS "last_5_tracks",
  STR_SPLIT(
    SUBSTRING(
      "t35"."last_5_tracks",
      CASE
        WHEN (
          39 + 1
        ) >= 1
        THEN 39 + 1
        ELSE 39 + 1 + LENGTH("t35"."last_5_tracks")
      END
    ),
    '\x1f'
  ) AS "last_20_tracks",
  CASE
    WHEN COALESCE(
      CAST(LIST_EXTRACT(
        STR_SPLIT(
          SUBSTRING(
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
            "t35"."valence_last_20__sum",
            CASE
              WHEN (
                39 + 1
              ) >= 1
              THEN 39 + 1
              ELSE 39 + 1 + LENGTH("t35"."valence_last_20__sum")
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
    "t34"."user_id",
    "t34"."tick_ms",
    SUM("t34"."plays_1m") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1m",
    SUM("t34"."plays_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1h",
    SUM("t34"."plays_1d") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays_1d",
    SUM("t34"."skips_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips_1h",
    SUM("t34"."early_skips_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "early_skips_1h",
    SUM("t34"."pauses_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "pauses_1h",
    SUM("t34"."completes_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "completes_1h",
    SUM("t34"."likes_1d") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "likes_1d",
    SUM("t34"."listen_ms_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms_1h",
    SUM("t34"."ends_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "ends_1h",
    SUM("t34"."kept_30s_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "kept_30s_1h",
    SUM("t34"."artists_1h") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "artists_1h",
    MAX("t34"."last_5_tracks") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "last_5_tracks",
    MAX("t34"."valence_last_20__sum") OVER (
      PARTITION BY "t34"."user_id"
      ORDER BY "t34"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "valence_last_20__sum"
  FROM (
    SELECT
      "t33"."user_id",
      "t33"."tick_ms",
      "t33"."plays_1m",
      "t33"."plays_1h",
      "t33"."plays_1d",
      "t33"."skips_1h",
      "t33"."early_skips_1h",
      "t33"."pauses_1h",
      "t33"."completes_1h",
      "t33"."likes_1d",
      "t33"."listen_ms_1h",
      "t33"."ends_1h",
      "t33"."kept_30s_1h",
      "t33"."artists_1h",
      "t33"."last_5_tracks",
      "t33"."valence_last_20__sum",
      (
        "t33"."tick_ms" - (
          "t33"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t32".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t31"."user_id",
          "t31"."second",
          MAX("t31"."tick_ms") AS "tick_ms",
          SUM("t31"."plays_1m") AS "plays_1m",
          SUM("t31"."plays_1h") AS "plays_1h",
          SUM("t31"."plays_1d") AS "plays_1d",
          SUM("t31"."skips_1h") AS "skips_1h",
          SUM("t31"."early_skips_1h") AS "early_skips_1h",
          SUM("t31"."pauses_1h") AS "pauses_1h",
          SUM("t31"."completes_1h") AS "completes_1h",
          SUM("t31"."likes_1d") AS "likes_1d",
          SUM("t31"."listen_ms_1h") AS "listen_ms_1h",
          SUM("t31"."ends_1h") AS "ends_1h",
          SUM("t31"."kept_30s_1h") AS "kept_30s_1h",
          SUM("t31"."artists_1h") AS "artists_1h",
          MAX("t31"."last_5_tracks") AS "last_5_tracks",
          MAX("t31"."valence_last_20__sum") AS "valence_last_20__sum"
        FROM (
          SELECT
            "t30"."user_id",
            "t30"."tick_ms",
            "t30"."plays_1m",
            "t30"."plays_1h",
            "t30"."plays_1d",
            "t30"."skips_1h",
            "t30"."early_skips_1h",
            "t30"."pauses_1h",
            "t30"."completes_1h",
            "t30"."likes_1d",
            "t30"."listen_ms_1h",
            "t30"."ends_1h",
            "t30"."kept_30s_1h",
            "t30"."artists_1h",
            "t30"."last_5_tracks",
            "t30"."valence_last_20__sum",
            (
              "t30"."tick_ms" - (
                "t30"."tick_ms" % 1000
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
                              "t6"."user_id",
                              "t6"."event_time_ms" AS "tick_ms",
                              CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1m",
                              CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1h",
                              CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays_1d",
                              CASE WHEN "t6"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips_1h",
                              CASE
                                WHEN (
                                  "t6"."event_type" = 'SKIP'
                                ) AND (
                                  "t6"."ms_played" < 5000
                                )
                                THEN 1
                                ELSE 0
                              END AS "early_skips_1h",
                              CASE WHEN "t6"."event_type" = 'PAUSE' THEN 1 ELSE 0 END AS "pauses_1h",
                              CASE WHEN "t6"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END AS "completes_1h",
                              CASE WHEN "t6"."event_type" = 'LIKE' THEN 1 ELSE 0 END AS "likes_1d",
                              CASE
                                WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                THEN COALESCE("t6"."ms_played", 0)
                                ELSE 0
                              END AS "listen_ms_1h",
                              CASE WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END AS "ends_1h",
                              CASE
                                WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t6"."ms_played" >= 30000
                                )
                                THEN 1
                                ELSE 0
                              END AS "kept_30s_1h",
                              0 AS "artists_1h",
                              CAST(NULL AS TEXT) AS "last_5_tracks",
                              CAST(NULL AS TEXT) AS "valence_last_20__sum"
                            FROM "t5" AS "t6"
                            WHERE
                              "t6"."user_id" IS NOT NULL
                              AND (
                                (
                                  "t6"."event_type" = 'PLAY'
                                )
                                OR (
                                  "t6"."event_type" = 'SKIP'
                                )
                                OR (
                                  (
                                    "t6"."event_type" = 'SKIP'
                                  ) AND (
                                    "t6"."ms_played" < 5000
                                  )
                                )
                                OR (
                                  "t6"."event_type" = 'PAUSE'
                                )
                                OR (
                                  "t6"."event_type" = 'COMPLETE'
                                )
                                OR (
                                  "t6"."event_type" = 'LIKE'
                                )
                                OR "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                OR (
                                  "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                  AND (
                                    "t6"."ms_played" >= 30000
                                  )
                                )
                              )
                          ) AS "t16"
                          UNION ALL
                          SELECT
                            *
                          FROM (
                            SELECT
                              "t6"."user_id",
                              "t6"."event_time_ms" + 60000 AS "tick_ms",
                              -(
                                CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END
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
                            FROM "t5" AS "t6"
                            WHERE
                              "t6"."user_id" IS NOT NULL AND "t6"."event_type" = 'PLAY'
                          ) AS "t10"
                        ) AS "t18"
                        UNION ALL
                        SELECT
                          *
                        FROM (
                          SELECT
                            "t6"."user_id",
                            "t6"."event_time_ms" + 3600000 AS "tick_ms",
                            0 AS "plays_1m",
                            -(
                              CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                            ) AS "plays_1h",
                            0 AS "plays_1d",
                            -(
                              CASE WHEN "t6"."event_type" = 'SKIP' THEN 1 ELSE 0 END
                            ) AS "skips_1h",
                            -(
                              CASE
                                WHEN (
                                  "t6"."event_type" = 'SKIP'
                                ) AND (
                                  "t6"."ms_played" < 5000
                                )
                                THEN 1
                                ELSE 0
                              END
                            ) AS "early_skips_1h",
                            -(
                              CASE WHEN "t6"."event_type" = 'PAUSE' THEN 1 ELSE 0 END
                            ) AS "pauses_1h",
                            -(
                              CASE WHEN "t6"."event_type" = 'COMPLETE' THEN 1 ELSE 0 END
                            ) AS "completes_1h",
                            0 AS "likes_1d",
                            -(
                              CASE
                                WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                THEN COALESCE("t6"."ms_played", 0)
                                ELSE 0
                              END
                            ) AS "listen_ms_1h",
                            -(
                              CASE WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END
                            ) AS "ends_1h",
                            -(
                              CASE
                                WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t6"."ms_played" >= 30000
                                )
                                THEN 1
                                ELSE 0
                              END
                            ) AS "kept_30s_1h",
                            0 AS "artists_1h",
                            CAST(NULL AS TEXT) AS "last_5_tracks",
                            CAST(NULL AS TEXT) AS "valence_last_20__sum"
                          FROM "t5" AS "t6"
                          WHERE
                            "t6"."user_id" IS NOT NULL
                            AND (
                              (
                                "t6"."event_type" = 'PLAY'
                              )
                              OR (
                                "t6"."event_type" = 'SKIP'
                              )
                              OR (
                                (
                                  "t6"."event_type" = 'SKIP'
                                ) AND (
                                  "t6"."ms_played" < 5000
                                )
                              )
                              OR (
                                "t6"."event_type" = 'PAUSE'
                              )
                              OR (
                                "t6"."event_type" = 'COMPLETE'
                              )
                              OR "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                              OR (
                                "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                                AND (
                                  "t6"."ms_played" >= 30000
                                )
                              )
                            )
                        ) AS "t15"
                      ) AS "t20"
                      UNION ALL
                      SELECT
                        *
                      FROM (
                        SELECT
                          "t6"."user_id",
                          "t6"."event_time_ms" + 86400000 AS "tick_ms",
                          0 AS "plays_1m",
                          0 AS "plays_1h",
                          -(
                            CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END
                          ) AS "plays_1d",
                          0 AS "skips_1h",
                          0 AS "early_skips_1h",
                          0 AS "pauses_1h",
                          0 AS "completes_1h",
                          -(
                            CASE WHEN "t6"."event_type" = 'LIKE' THEN 1 ELSE 0 END
                          ) AS "likes_1d",
                          0 AS "listen_ms_1h",
                          0 AS "ends_1h",
                          0 AS "kept_30s_1h",
                          0 AS "artists_1h",
                          CAST(NULL AS TEXT) AS "last_5_tracks",
                          CAST(NULL AS TEXT) AS "valence_last_20__sum"
                        FROM "t5" AS "t6"
                        WHERE
                          "t6"."user_id" IS NOT NULL
                          AND (
                            (
                              "t6"."event_type" = 'PLAY'
                            ) OR (
                              "t6"."event_type" = 'LIKE'
                            )
                          )
                      ) AS "t11"
                    ) AS "t22"
                    UNION ALL
                    SELECT
                      *
                    FROM (
                      SELECT
                        "t14"."user_id",
                        "t14"."event_time_ms" AS "tick_ms",
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
                            "t14"."event_time_ms" - "t14"."previous_ms"
                          ) >= 3600000
                          THEN 1
                          ELSE 0
                        END AS "artists_1h",
                        CAST(NULL AS TEXT) AS "last_5_tracks",
                        CAST(NULL AS TEXT) AS "valence_last_20__sum"
                      FROM "t13" AS "t14"
                    ) AS "t24"
                  ) AS "t25"
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      "t14"."user_id",
                      "t14"."event_time_ms" + 3600000 AS "tick_ms",
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
                    FROM "t13" AS "t14"
                  ) AS "t19"
                ) AS "t26"
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    "t14"."user_id",
                    "t14"."previous_ms" + 3600000 AS "tick_ms",
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
                  FROM "t13" AS "t14"
                  WHERE
                    (
                      "t14"."event_time_ms" - "t14"."previous_ms"
                    ) < 3600000
                ) AS "t21"
              ) AS "t28"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t12"."user_id",
                  "t12"."event_time_ms" AS "tick_ms",
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
                    CAST("t12"."event_time_ms" + 1000000000000000 AS TEXT),
                    CAST(CAST("t12"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                    CAST("t12"."kafka_offset" + 1000000000000000 AS TEXT),
                    "t12"."held"
                  ) AS "last_5_tracks",
                  CAST(NULL AS TEXT) AS "valence_last_20__sum"
                FROM (
                  SELECT
                    "t8"."event_id",
                    "t8"."user_id",
                    "t8"."track_id",
                    "t8"."artist_id",
                    "t8"."event_type",
                    "t8"."event_time_ms",
                    "t8"."position_ms",
                    "t8"."ms_played",
                    "t8"."duration_ms",
                    "t8"."content_type",
                    "t8"."context",
                    "t8"."request_id",
                    "t8"."device",
                    "t8"."country",
                    "t8"."client_version",
                    "t8"."kafka_partition",
                    "t8"."kafka_offset",
                    "t8"."late",
                    "t8"."track_valence",
                    "t8"."track_energy",
                    ARRAY_TO_STRING(
                      ARRAY_AGG("t8"."track_id") FILTER(WHERE
                        "t8"."track_id" IS NOT NULL) OVER (
                        PARTITION BY "t8"."user_id"
                        ORDER BY "t8"."event_time_ms" DESC, "t8"."kafka_partition" DESC, "t8"."kafka_offset" DESC
                        ROWS BETWEEN CURRENT ROW AND 19 following
                      ),
                      '\x1f'
                    ) AS "held"
                  FROM (
                    SELECT
                      *
                    FROM "t5" AS "t6"
                    WHERE
                      "t6"."user_id" IS NOT NULL
                      AND "t6"."event_type" = 'PLAY'
                      AND "t6"."track_id" IS NOT NULL
                  ) AS "t8"
                ) AS "t12"
              ) AS "t23"
            ) AS "t29"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t17"."user_id",
                "t17"."event_time_ms" AS "tick_ms",
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
                  CAST("t17"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t17"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t17"."kafka_offset" + 1000000000000000 AS TEXT),
                  "t17"."held"
                ) AS "valence_last_20__sum"
              FROM (
                SELECT
                  "t7"."event_id",
                  "t7"."user_id",
                  "t7"."track_id",
                  "t7"."artist_id",
                  "t7"."event_type",
                  "t7"."event_time_ms",
                  "t7"."position_ms",
                  "t7"."ms_played",
                  "t7"."duration_ms",
                  "t7"."content_type",
                  "t7"."context",
                  "t7"."request_id",
                  "t7"."device",
                  "t7"."country",
                  "t7"."client_version",
                  "t7"."kafka_partition",
                  "t7"."kafka_offset",
                  "t7"."late",
                  "t7"."track_valence",
                  "t7"."track_energy",
                  CONCAT_WS(
                    '\x1f',
                    CAST(SUM(CASE WHEN "t7"."track_valence" IS NOT NULL THEN "t7"."track_valence" ELSE 0 END) OVER (
                      PARTITION BY "t7"."user_id"
                      ORDER BY "t7"."event_time_ms" ASC, "t7"."kafka_partition" ASC, "t7"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN "t7"."track_valence" IS NOT NULL THEN 1 ELSE 0 END) OVER (
                      PARTITION BY "t7"."user_id"
                      ORDER BY "t7"."event_time_ms" ASC, "t7"."kafka_partition" ASC, "t7"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN "t7"."track_energy" IS NOT NULL THEN "t7"."track_energy" ELSE 0 END) OVER (
                      PARTITION BY "t7"."user_id"
                      ORDER BY "t7"."event_time_ms" ASC, "t7"."kafka_partition" ASC, "t7"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT),
                    CAST(SUM(CASE WHEN "t7"."track_energy" IS NOT NULL THEN 1 ELSE 0 END) OVER (
                      PARTITION BY "t7"."user_id"
                      ORDER BY "t7"."event_time_ms" ASC, "t7"."kafka_partition" ASC, "t7"."kafka_offset" ASC
                      ROWS BETWEEN 19 preceding AND CURRENT ROW
                    ) AS TEXT)
                  ) AS "held"
                FROM (
                  SELECT
                    *
                  FROM "t5" AS "t6"
                  WHERE
                    "t6"."user_id" IS NOT NULL AND "t6"."event_type" = 'PLAY'
                ) AS "t7"
              ) AS "t17"
            ) AS "t27"
          ) AS "t30"
        ) AS "t31"
        GROUP BY
          1,
          2
      ) AS "t32"
    ) AS "t33"
  ) AS "t34"
) AS "t35"
