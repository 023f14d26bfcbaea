WITH "t7" AS (
  SELECT
    "t6"."event_id",
    CONCAT_WS(
      '|',
      "t6"."user_id",
      CAST("t6"."event_time_ms" - (
        "t6"."event_time_ms" % 86400000
      ) AS TEXT)
    ) AS "user_id",
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
    "t6"."track_genre"
  FROM (
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
        "t4"."track_genre"
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
          "t1"."genre" AS "track_genre"
        FROM "dimension_track" AS "t1"
      ) AS "t4"
        ON "t2"."track_id" = "t4"."dimension_key"
        AND "t2"."event_time_ms" >= "t4"."dimension_since"
        AND "t2"."event_time_ms" < "t4"."dimension_until"
    ) AS "t5"
    WHERE
      NOT "t5"."user_id" IS NULL
  ) AS "t6"
)
SELECT
  "t21"."user_id",
  (
    "t21"."tick_ms" - (
      "t21"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t21"."plays",
  "t21"."skips",
  "t21"."listen_ms",
  "t21"."songs",
  "t21"."podcasts",
  "t21"."audiobooks",
  SUBSTRING(
    "t21"."top_genres",
    CASE WHEN (
      39 + 1
    ) >= 1 THEN 39 + 1 ELSE 39 + 1 + LENGTH("t21"."top_genres") END
  ) AS "top_genres",
  SUBSTRING(
    "t21"."top_artists",
    CASE
      WHEN (
        39 + 1
      ) >= 1
      THEN 39 + 1
      ELSE 39 + 1 + LENGTH("t21"."top_artists")
    END
  ) AS "top_artists"
FROM (
  SELECT
    "t20"."user_id",
    "t20"."tick_ms",
    SUM("t20"."plays") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays",
    SUM("t20"."skips") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips",
    SUM("t20"."listen_ms") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms",
    SUM("t20"."songs") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "songs",
    SUM("t20"."podcasts") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "podcasts",
    SUM("t20"."audiobooks") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "audiobooks",
    MAX("t20"."top_genres") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "top_genres",
    MAX("t20"."top_artists") OVER (
      PARTITION BY "t20"."user_id"
      ORDER BY "t20"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "top_artists"
  FROM (
    SELECT
      "t19"."user_id",
      "t19"."tick_ms",
      "t19"."plays",
      "t19"."skips",
      "t19"."listen_ms",
      "t19"."songs",
      "t19"."podcasts",
      "t19"."audiobooks",
      "t19"."top_genres",
      "t19"."top_artists",
      (
        "t19"."tick_ms" - (
          "t19"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t18".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t17"."user_id",
          "t17"."second",
          MAX("t17"."tick_ms") AS "tick_ms",
          SUM("t17"."plays") AS "plays",
          SUM("t17"."skips") AS "skips",
          SUM("t17"."listen_ms") AS "listen_ms",
          SUM("t17"."songs") AS "songs",
          SUM("t17"."podcasts") AS "podcasts",
          SUM("t17"."audiobooks") AS "audiobooks",
          MAX("t17"."top_genres") AS "top_genres",
          MAX("t17"."top_artists") AS "top_artists"
        FROM (
          SELECT
            "t16"."user_id",
            "t16"."tick_ms",
            "t16"."plays",
            "t16"."skips",
            "t16"."listen_ms",
            "t16"."songs",
            "t16"."podcasts",
            "t16"."audiobooks",
            "t16"."top_genres",
            "t16"."top_artists",
            (
              "t16"."tick_ms" - (
                "t16"."tick_ms" % 1000
              )
            ) + 1000 AS "second"
          FROM (
            SELECT
              *
            FROM (
              SELECT
                "t10"."user_id",
                "t10"."event_time_ms" AS "tick_ms",
                CASE WHEN "t10"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays",
                CASE WHEN "t10"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips",
                CASE
                  WHEN "t10"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                  THEN COALESCE("t10"."ms_played", 0)
                  ELSE 0
                END AS "listen_ms",
                CASE
                  WHEN (
                    "t10"."event_type" = 'PLAY'
                  ) AND (
                    "t10"."content_type" = 'SONG'
                  )
                  THEN 1
                  ELSE 0
                END AS "songs",
                CASE
                  WHEN (
                    "t10"."event_type" = 'PLAY'
                  )
                  AND (
                    "t10"."content_type" = 'PODCAST_EPISODE'
                  )
                  THEN 1
                  ELSE 0
                END AS "podcasts",
                CASE
                  WHEN (
                    "t10"."event_type" = 'PLAY'
                  )
                  AND (
                    "t10"."content_type" = 'AUDIOBOOK_CHAPTER'
                  )
                  THEN 1
                  ELSE 0
                END AS "audiobooks",
                CAST(NULL AS TEXT) AS "top_genres",
                CAST(NULL AS TEXT) AS "top_artists"
              FROM (
                SELECT
                  *
                FROM "t7" AS "t8"
                WHERE
                  (
                    "t8"."event_type" = 'PLAY'
                  )
                  OR (
                    "t8"."event_type" = 'SKIP'
                  )
                  OR "t8"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                  OR (
                    (
                      "t8"."event_type" = 'PLAY'
                    ) AND (
                      "t8"."content_type" = 'SONG'
                    )
                  )
                  OR (
                    (
                      "t8"."event_type" = 'PLAY'
                    )
                    AND (
                      "t8"."content_type" = 'PODCAST_EPISODE'
                    )
                  )
                  OR (
                    (
                      "t8"."event_type" = 'PLAY'
                    )
                    AND (
                      "t8"."content_type" = 'AUDIOBOOK_CHAPTER'
                    )
                  )
              ) AS "t10"
            ) AS "t12"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t14"."user_id",
                "t14"."event_time_ms" AS "tick_ms",
                0 AS "plays",
                0 AS "skips",
                0 AS "listen_ms",
                0 AS "songs",
                0 AS "podcasts",
                0 AS "audiobooks",
                CONCAT_WS(
                  '',
                  CAST("t14"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t14"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t14"."kafka_offset" + 1000000000000000 AS TEXT),
                  "t14"."top_genres"
                ) AS "top_genres",
                CONCAT_WS(
                  '',
                  CAST("t14"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t14"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t14"."kafka_offset" + 1000000000000000 AS TEXT),
                  "t14"."top_artists"
                ) AS "top_artists"
              FROM (
                SELECT
                  "t13"."user_id",
                  "t13"."event_time_ms",
                  "t13"."kafka_partition",
                  "t13"."kafka_offset",
                  COALESCE(
                    '{' || NULLIF(
                      ARRAY_TO_STRING(
                        LIST_APPLY(
                          LIST_SORT(
                            CASE
                              WHEN "t13"."top_genres" IS NULL
                              THEN NULL
                              ELSE LIST_DISTINCT("t13"."top_genres") + CASE
                                WHEN LIST_BOOL_OR(LIST_APPLY("t13"."top_genres", LAMBDA x : x IS NULL))
                                THEN [NULL]
                                ELSE []
                              END
                            END
                          ),
                          LAMBDA __ibis_param_key__ : '"' || __ibis_param_key__ || '":' || CAST(ARRAY_LENGTH(
                            LIST_FILTER(
                              "t13"."top_genres",
                              LAMBDA __ibis_param_v__ : __ibis_param_v__ = __ibis_param_key__
                            )
                          ) AS TEXT)
                        ),
                        ','
                      ),
                      ''
                    ) || '}',
                    '{}'
                  ) AS "top_genres",
                  COALESCE(
                    '{' || NULLIF(
                      ARRAY_TO_STRING(
                        LIST_APPLY(
                          LIST_SORT(
                            CASE
                              WHEN "t13"."top_artists" IS NULL
                              THEN NULL
                              ELSE LIST_DISTINCT("t13"."top_artists") + CASE
                                WHEN LIST_BOOL_OR(LIST_APPLY("t13"."top_artists", LAMBDA x : x IS NULL))
                                THEN [NULL]
                                ELSE []
                              END
                            END
                          ),
                          LAMBDA __ibis_param_key__ : '"' || __ibis_param_key__ || '":' || CAST(ARRAY_LENGTH(
                            LIST_FILTER(
                              "t13"."top_artists",
                              LAMBDA __ibis_param_v__ : __ibis_param_v__ = __ibis_param_key__
                            )
                          ) AS TEXT)
                        ),
                        ','
                      ),
                      ''
                    ) || '}',
                    '{}'
                  ) AS "top_artists"
                FROM (
                  SELECT
                    "t11"."user_id",
                    "t11"."event_time_ms",
                    "t11"."kafka_partition",
                    "t11"."kafka_offset",
                    ARRAY_AGG("t11"."top_genres") FILTER(WHERE
                      NOT "t11"."top_genres" IS NULL) OVER (
                      PARTITION BY "t11"."user_id"
                      ORDER BY "t11"."event_time_ms" ASC
                      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                    ) AS "top_genres",
                    ARRAY_AGG("t11"."top_artists") FILTER(WHERE
                      NOT "t11"."top_artists" IS NULL) OVER (
                      PARTITION BY "t11"."user_id"
                      ORDER BY "t11"."event_time_ms" ASC
                      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                    ) AS "top_artists"
                  FROM (
                    SELECT
                      "t9"."user_id",
                      "t9"."event_time_ms",
                      "t9"."kafka_partition",
                      "t9"."kafka_offset",
                      CASE
                        WHEN (
                          "t9"."event_type" = 'PLAY'
                        ) AND (
                          NOT "t9"."track_genre" IS NULL
                        )
                        THEN HEX("t9"."track_genre")
                        ELSE CAST(NULL AS TEXT)
                      END AS "top_genres",
                      CASE
                        WHEN (
                          "t9"."event_type" = 'PLAY'
                        ) AND (
                          NOT "t9"."artist_id" IS NULL
                        )
                        THEN HEX("t9"."artist_id")
                        ELSE CAST(NULL AS TEXT)
                      END AS "top_artists"
                    FROM (
                      SELECT
                        *
                      FROM "t7" AS "t8"
                      WHERE
                        (
                          (
                            "t8"."event_type" = 'PLAY'
                          ) AND (
                            NOT "t8"."track_genre" IS NULL
                          )
                        )
                        OR (
                          (
                            "t8"."event_type" = 'PLAY'
                          ) AND (
                            NOT "t8"."artist_id" IS NULL
                          )
                        )
                    ) AS "t9"
                  ) AS "t11"
                ) AS "t13"
              ) AS "t14"
            ) AS "t15"
          ) AS "t16"
        ) AS "t17"
        GROUP BY
          1,
          2
      ) AS "t18"
    ) AS "t19"
  ) AS "t20"
) AS "t21"
