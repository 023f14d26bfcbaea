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
    "t4"."track_artist_id",
    "t4"."track_genre",
    "t4"."track_tempo",
    "t4"."track_valence",
    "t4"."track_energy",
    "t4"."track_duration_ms"
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
      "t1"."artist_id" AS "track_artist_id",
      "t1"."genre" AS "track_genre",
      "t1"."tempo" AS "track_tempo",
      "t1"."valence" AS "track_valence",
      "t1"."energy" AS "track_energy",
      "t1"."duration_ms" AS "track_duration_ms"
    FROM "dimension_track" AS "t1"
  ) AS "t4"
    ON "t2"."track_id" = "t4"."dimension_key"
    AND "t2"."event_time_ms" >= "t4"."dimension_since"
    AND "t2"."event_time_ms" < "t4"."dimension_until"
)
SELECT
  "t28"."user_id",
  (
    "t28"."tick_ms" - (
      "t28"."tick_ms" % 1000
    )
  ) + 1000 AS "event_timestamp_ms",
  "t28"."plays",
  "t28"."skips",
  "t28"."listen_ms",
  "t28"."songs",
  "t28"."podcasts",
  "t28"."audiobooks",
  SUBSTRING(
    "t28"."top_genres",
    CASE WHEN (
      39 + 1
    ) >= 1 THEN 39 + 1 ELSE 39 + 1 + LENGTH("t28"."top_genres") END
  ) AS "top_genres",
  SUBSTRING(
    "t28"."top_artists",
    CASE
      WHEN (
        39 + 1
      ) >= 1
      THEN 39 + 1
      ELSE 39 + 1 + LENGTH("t28"."top_artists")
    END
  ) AS "top_artists"
FROM (
  SELECT
    "t27"."user_id",
    "t27"."tick_ms",
    SUM("t27"."plays") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "plays",
    SUM("t27"."skips") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "skips",
    SUM("t27"."listen_ms") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "listen_ms",
    SUM("t27"."songs") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "songs",
    SUM("t27"."podcasts") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "podcasts",
    SUM("t27"."audiobooks") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "audiobooks",
    MAX("t27"."top_genres") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "top_genres",
    MAX("t27"."top_artists") OVER (
      PARTITION BY "t27"."user_id"
      ORDER BY "t27"."tick_ms" ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS "top_artists"
  FROM (
    SELECT
      "t26"."user_id",
      "t26"."tick_ms",
      "t26"."plays",
      "t26"."skips",
      "t26"."listen_ms",
      "t26"."songs",
      "t26"."podcasts",
      "t26"."audiobooks",
      "t26"."top_genres",
      "t26"."top_artists",
      (
        "t26"."tick_ms" - (
          "t26"."tick_ms" % 1000
        )
      ) + 1000 AS "second"
    FROM (
      SELECT
        "t25".*
        EXCLUDE ("second")
      FROM (
        SELECT
          "t24"."user_id",
          "t24"."second",
          MAX("t24"."tick_ms") AS "tick_ms",
          SUM("t24"."plays") AS "plays",
          SUM("t24"."skips") AS "skips",
          SUM("t24"."listen_ms") AS "listen_ms",
          SUM("t24"."songs") AS "songs",
          SUM("t24"."podcasts") AS "podcasts",
          SUM("t24"."audiobooks") AS "audiobooks",
          MAX("t24"."top_genres") AS "top_genres",
          MAX("t24"."top_artists") AS "top_artists"
        FROM (
          SELECT
            "t23"."user_id",
            "t23"."tick_ms",
            "t23"."plays",
            "t23"."skips",
            "t23"."listen_ms",
            "t23"."songs",
            "t23"."podcasts",
            "t23"."audiobooks",
            "t23"."top_genres",
            "t23"."top_artists",
            (
              "t23"."tick_ms" - (
                "t23"."tick_ms" % 1000
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
                  CONCAT_WS(
                    '|',
                    "t6"."user_id",
                    CAST("t6"."event_time_ms" - (
                      "t6"."event_time_ms" % 86400000
                    ) AS TEXT)
                  ) AS "user_id",
                  "t6"."event_time_ms" AS "tick_ms",
                  CASE WHEN "t6"."event_type" = 'PLAY' THEN 1 ELSE 0 END AS "plays",
                  CASE WHEN "t6"."event_type" = 'SKIP' THEN 1 ELSE 0 END AS "skips",
                  CASE
                    WHEN "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                    THEN COALESCE("t6"."ms_played", 0)
                    ELSE 0
                  END AS "listen_ms",
                  CASE
                    WHEN (
                      "t6"."event_type" = 'PLAY'
                    ) AND (
                      "t6"."content_type" = 'SONG'
                    )
                    THEN 1
                    ELSE 0
                  END AS "songs",
                  CASE
                    WHEN (
                      "t6"."event_type" = 'PLAY'
                    )
                    AND (
                      "t6"."content_type" = 'PODCAST_EPISODE'
                    )
                    THEN 1
                    ELSE 0
                  END AS "podcasts",
                  CASE
                    WHEN (
                      "t6"."event_type" = 'PLAY'
                    )
                    AND (
                      "t6"."content_type" = 'AUDIOBOOK_CHAPTER'
                    )
                    THEN 1
                    ELSE 0
                  END AS "audiobooks",
                  CAST(NULL AS TEXT) AS "top_genres",
                  CAST(NULL AS TEXT) AS "top_artists"
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
                    OR "t6"."event_type" IN ('SKIP', 'COMPLETE', 'STOP')
                    OR (
                      (
                        "t6"."event_type" = 'PLAY'
                      ) AND (
                        "t6"."content_type" = 'SONG'
                      )
                    )
                    OR (
                      (
                        "t6"."event_type" = 'PLAY'
                      )
                      AND (
                        "t6"."content_type" = 'PODCAST_EPISODE'
                      )
                    )
                    OR (
                      (
                        "t6"."event_type" = 'PLAY'
                      )
                      AND (
                        "t6"."content_type" = 'AUDIOBOOK_CHAPTER'
                      )
                    )
                  )
              ) AS "t9"
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  "t19"."user_id",
                  "t19"."event_time_ms" AS "tick_ms",
                  0 AS "plays",
                  0 AS "skips",
                  0 AS "listen_ms",
                  0 AS "songs",
                  0 AS "podcasts",
                  0 AS "audiobooks",
                  CONCAT_WS(
                    '',
                    CAST("t19"."event_time_ms" + 1000000000000000 AS TEXT),
                    CAST(CAST("t19"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                    CAST("t19"."kafka_offset" + 1000000000000000 AS TEXT),
                    "t19"."text"
                  ) AS "top_genres",
                  CAST(NULL AS TEXT) AS "top_artists"
                FROM (
                  SELECT
                    "t17".*
                    EXCLUDE ("text_list")
                  FROM (
                    SELECT
                      "t15"."user_id",
                      "t15"."event_time_ms",
                      "t15"."kafka_partition",
                      "t15"."kafka_offset",
                      "t15"."value",
                      "t15"."text_list",
                      '{' || NULLIF(
                        ARRAY_TO_STRING(
                          LIST_APPLY(
                            LIST_SORT(
                              CASE
                                WHEN "t15"."text_list" IS NULL
                                THEN NULL
                                ELSE LIST_DISTINCT("t15"."text_list") + CASE
                                  WHEN LIST_BOOL_OR(LIST_APPLY("t15"."text_list", LAMBDA x : x IS NULL))
                                  THEN [NULL]
                                  ELSE []
                                END
                              END
                            ),
                            LAMBDA __ibis_param_key__ : '"' || __ibis_param_key__ || '":' || CAST(ARRAY_LENGTH(
                              LIST_FILTER("t15"."text_list", LAMBDA __ibis_param_v__ : __ibis_param_v__ = __ibis_param_key__)
                            ) AS TEXT)
                          ),
                          ','
                        ),
                        ''
                      ) || '}' AS "text"
                    FROM (
                      SELECT
                        "t13"."user_id",
                        "t13"."event_time_ms",
                        "t13"."kafka_partition",
                        "t13"."kafka_offset",
                        "t13"."value",
                        ARRAY_AGG("t13"."value") FILTER(WHERE
                          "t13"."value" IS NOT NULL) OVER (
                          PARTITION BY "t13"."user_id"
                          ORDER BY "t13"."event_time_ms" ASC
                          RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                        ) AS "text_list"
                      FROM (
                        SELECT
                          "t11"."user_id",
                          "t11"."event_time_ms",
                          "t11"."kafka_partition",
                          "t11"."kafka_offset",
                          "t11"."value"
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
                            "t8"."track_artist_id",
                            "t8"."track_genre",
                            "t8"."track_tempo",
                            "t8"."track_valence",
                            "t8"."track_energy",
                            "t8"."track_duration_ms",
                            HEX("t8"."track_genre") AS "value"
                          FROM (
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
                              "t6"."track_artist_id",
                              "t6"."track_genre",
                              "t6"."track_tempo",
                              "t6"."track_valence",
                              "t6"."track_energy",
                              "t6"."track_duration_ms"
                            FROM "t5" AS "t6"
                            WHERE
                              "t6"."user_id" IS NOT NULL
                              AND "t6"."event_type" = 'PLAY'
                              AND "t6"."track_genre" IS NOT NULL
                          ) AS "t8"
                        ) AS "t11"
                      ) AS "t13"
                    ) AS "t15"
                  ) AS "t17"
                ) AS "t19"
              ) AS "t21"
            ) AS "t22"
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                "t18"."user_id",
                "t18"."event_time_ms" AS "tick_ms",
                0 AS "plays",
                0 AS "skips",
                0 AS "listen_ms",
                0 AS "songs",
                0 AS "podcasts",
                0 AS "audiobooks",
                CAST(NULL AS TEXT) AS "top_genres",
                CONCAT_WS(
                  '',
                  CAST("t18"."event_time_ms" + 1000000000000000 AS TEXT),
                  CAST(CAST("t18"."kafka_partition" AS BIGINT) + 1000000 AS TEXT),
                  CAST("t18"."kafka_offset" + 1000000000000000 AS TEXT),
                  "t18"."text"
                ) AS "top_artists"
              FROM (
                SELECT
                  "t16".*
                  EXCLUDE ("text_list")
                FROM (
                  SELECT
                    "t14"."user_id",
                    "t14"."event_time_ms",
                    "t14"."kafka_partition",
                    "t14"."kafka_offset",
                    "t14"."value",
                    "t14"."text_list",
                    '{' || NULLIF(
                      ARRAY_TO_STRING(
                        LIST_APPLY(
                          LIST_SORT(
                            CASE
                              WHEN "t14"."text_list" IS NULL
                              THEN NULL
                              ELSE LIST_DISTINCT("t14"."text_list") + CASE
                                WHEN LIST_BOOL_OR(LIST_APPLY("t14"."text_list", LAMBDA x : x IS NULL))
                                THEN [NULL]
                                ELSE []
                              END
                            END
                          ),
                          LAMBDA __ibis_param_key__ : '"' || __ibis_param_key__ || '":' || CAST(ARRAY_LENGTH(
                            LIST_FILTER("t14"."text_list", LAMBDA __ibis_param_v__ : __ibis_param_v__ = __ibis_param_key__)
                          ) AS TEXT)
                        ),
                        ','
                      ),
                      ''
                    ) || '}' AS "text"
                  FROM (
                    SELECT
                      "t12"."user_id",
                      "t12"."event_time_ms",
                      "t12"."kafka_partition",
                      "t12"."kafka_offset",
                      "t12"."value",
                      ARRAY_AGG("t12"."value") FILTER(WHERE
                        "t12"."value" IS NOT NULL) OVER (
                        PARTITION BY "t12"."user_id"
                        ORDER BY "t12"."event_time_ms" ASC
                        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                      ) AS "text_list"
                    FROM (
                      SELECT
                        "t10"."user_id",
                        "t10"."event_time_ms",
                        "t10"."kafka_partition",
                        "t10"."kafka_offset",
                        "t10"."value"
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
                          "t7"."track_artist_id",
                          "t7"."track_genre",
                          "t7"."track_tempo",
                          "t7"."track_valence",
                          "t7"."track_energy",
                          "t7"."track_duration_ms",
                          HEX("t7"."artist_id") AS "value"
                        FROM (
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
                            "t6"."track_artist_id",
                            "t6"."track_genre",
                            "t6"."track_tempo",
                            "t6"."track_valence",
                            "t6"."track_energy",
                            "t6"."track_duration_ms"
                          FROM "t5" AS "t6"
                          WHERE
                            "t6"."user_id" IS NOT NULL
                            AND "t6"."event_type" = 'PLAY'
                            AND "t6"."artist_id" IS NOT NULL
                        ) AS "t7"
                      ) AS "t10"
                    ) AS "t12"
                  ) AS "t14"
                ) AS "t16"
              ) AS "t18"
            ) AS "t20"
          ) AS "t23"
        ) AS "t24"
        GROUP BY
          1,
          2
      ) AS "t25"
    ) AS "t26"
  ) AS "t27"
) AS "t28"
