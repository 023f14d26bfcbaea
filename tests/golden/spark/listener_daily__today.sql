WITH `t5` AS (
  SELECT
    `t2`.`event_id`,
    `t2`.`user_id`,
    `t2`.`track_id`,
    `t2`.`artist_id`,
    `t2`.`event_type`,
    `t2`.`event_time_ms`,
    `t2`.`position_ms`,
    `t2`.`ms_played`,
    `t2`.`duration_ms`,
    `t2`.`content_type`,
    `t2`.`context`,
    `t2`.`request_id`,
    `t2`.`device`,
    `t2`.`country`,
    `t2`.`client_version`,
    `t2`.`kafka_partition`,
    `t2`.`kafka_offset`,
    `t2`.`late`,
    `t4`.`track_genre`
  FROM `events` AS `t2`
  LEFT OUTER JOIN (
    SELECT
      `t1`.`track_id` AS `dimension_key`,
      `t1`.`valid_from_ms` AS `dimension_since`,
      COALESCE(
        LEAD(`t1`.`valid_from_ms`) OVER (PARTITION BY `t1`.`track_id` ORDER BY `t1`.`valid_from_ms` ASC NULLS LAST),
        4611686018427387904
      ) AS `dimension_until`,
      `t1`.`genre` AS `track_genre`
    FROM `dimension_track` AS `t1`
  ) AS `t4`
    ON `t2`.`track_id` = `t4`.`dimension_key`
    AND `t2`.`event_time_ms` >= `t4`.`dimension_since`
    AND `t2`.`event_time_ms` < `t4`.`dimension_until`
)
SELECT
  `t17`.`user_id`,
  (
    `t17`.`tick_ms` - (
      `t17`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t17`.`plays`,
  `t17`.`skips`,
  `t17`.`listen_ms`,
  `t17`.`songs`,
  `t17`.`podcasts`,
  `t17`.`audiobooks`,
  SUBSTRING(
    `t17`.`top_genres`,
    IF((
      39 + 1
    ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t17`.`top_genres`))
  ) AS `top_genres`,
  SUBSTRING(
    `t17`.`top_artists`,
    IF((
      39 + 1
    ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t17`.`top_artists`))
  ) AS `top_artists`
FROM (
  SELECT
    `t16`.`user_id`,
    `t16`.`tick_ms`,
    SUM(`t16`.`plays`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays`,
    SUM(`t16`.`skips`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips`,
    SUM(`t16`.`listen_ms`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms`,
    SUM(`t16`.`songs`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `songs`,
    SUM(`t16`.`podcasts`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `podcasts`,
    SUM(`t16`.`audiobooks`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `audiobooks`,
    MAX(`t16`.`top_genres`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `top_genres`,
    MAX(`t16`.`top_artists`) OVER (
      PARTITION BY `t16`.`user_id`
      ORDER BY `t16`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `top_artists`
  FROM (
    SELECT
      `t15`.`user_id`,
      `t15`.`tick_ms`,
      `t15`.`plays`,
      `t15`.`skips`,
      `t15`.`listen_ms`,
      `t15`.`songs`,
      `t15`.`podcasts`,
      `t15`.`audiobooks`,
      `t15`.`top_genres`,
      `t15`.`top_artists`,
      (
        `t15`.`tick_ms` - (
          `t15`.`tick_ms` % 1000
        )
      ) + 1000 AS `second`
    FROM (
      SELECT
        `t14`.`user_id`,
        `t14`.`tick_ms`,
        `t14`.`plays`,
        `t14`.`skips`,
        `t14`.`listen_ms`,
        `t14`.`songs`,
        `t14`.`podcasts`,
        `t14`.`audiobooks`,
        `t14`.`top_genres`,
        `t14`.`top_artists`
      FROM (
        SELECT
          `t13`.`user_id`,
          `t13`.`second`,
          MAX(`t13`.`tick_ms`) AS `tick_ms`,
          SUM(`t13`.`plays`) AS `plays`,
          SUM(`t13`.`skips`) AS `skips`,
          SUM(`t13`.`listen_ms`) AS `listen_ms`,
          SUM(`t13`.`songs`) AS `songs`,
          SUM(`t13`.`podcasts`) AS `podcasts`,
          SUM(`t13`.`audiobooks`) AS `audiobooks`,
          MAX(`t13`.`top_genres`) AS `top_genres`,
          MAX(`t13`.`top_artists`) AS `top_artists`
        FROM (
          SELECT
            `t12`.`user_id`,
            `t12`.`tick_ms`,
            `t12`.`plays`,
            `t12`.`skips`,
            `t12`.`listen_ms`,
            `t12`.`songs`,
            `t12`.`podcasts`,
            `t12`.`audiobooks`,
            `t12`.`top_genres`,
            `t12`.`top_artists`,
            (
              `t12`.`tick_ms` - (
                `t12`.`tick_ms` % 1000
              )
            ) + 1000 AS `second`
          FROM (
            SELECT
              *
            FROM (
              SELECT
                CONCAT_WS(
                  '|',
                  `t6`.`user_id`,
                  CAST(`t6`.`event_time_ms` - (
                    `t6`.`event_time_ms` % 86400000
                  ) AS STRING)
                ) AS `user_id`,
                `t6`.`event_time_ms` AS `tick_ms`,
                IF(`t6`.`event_type` = 'PLAY', 1, 0) AS `plays`,
                IF(`t6`.`event_type` = 'SKIP', 1, 0) AS `skips`,
                IF(`t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t6`.`ms_played`, 0), 0) AS `listen_ms`,
                IF((
                  `t6`.`event_type` = 'PLAY'
                ) AND (
                  `t6`.`content_type` = 'SONG'
                ), 1, 0) AS `songs`,
                IF(
                  (
                    `t6`.`event_type` = 'PLAY'
                  )
                  AND (
                    `t6`.`content_type` = 'PODCAST_EPISODE'
                  ),
                  1,
                  0
                ) AS `podcasts`,
                IF(
                  (
                    `t6`.`event_type` = 'PLAY'
                  )
                  AND (
                    `t6`.`content_type` = 'AUDIOBOOK_CHAPTER'
                  ),
                  1,
                  0
                ) AS `audiobooks`,
                CAST(NULL AS STRING) AS `top_genres`,
                CAST(NULL AS STRING) AS `top_artists`
              FROM `t5` AS `t6`
              WHERE
                NOT `t6`.`user_id` IS NULL
                AND (
                  (
                    `t6`.`event_type` = 'PLAY'
                  )
                  OR (
                    `t6`.`event_type` = 'SKIP'
                  )
                  OR `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                  OR (
                    (
                      `t6`.`event_type` = 'PLAY'
                    ) AND (
                      `t6`.`content_type` = 'SONG'
                    )
                  )
                  OR (
                    (
                      `t6`.`event_type` = 'PLAY'
                    )
                    AND (
                      `t6`.`content_type` = 'PODCAST_EPISODE'
                    )
                  )
                  OR (
                    (
                      `t6`.`event_type` = 'PLAY'
                    )
                    AND (
                      `t6`.`content_type` = 'AUDIOBOOK_CHAPTER'
                    )
                  )
                )
            ) AS `t8`
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                `t10`.`user_id`,
                `t10`.`event_time_ms` AS `tick_ms`,
                0 AS `plays`,
                0 AS `skips`,
                0 AS `listen_ms`,
                0 AS `songs`,
                0 AS `podcasts`,
                0 AS `audiobooks`,
                CONCAT_WS(
                  '',
                  CAST(`t10`.`event_time_ms` + 1000000000000000 AS STRING),
                  CAST(CAST(`t10`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                  CAST(`t10`.`kafka_offset` + 1000000000000000 AS STRING),
                  COALESCE(
                    CONCAT(
                      '{',
                      NULLIF(
                        IF(
                          SIZE(
                            TRANSFORM(
                              ARRAY_SORT(ARRAY_DISTINCT(`t10`.`top_genres`)),
                              __ibis_param_key__ -> CONCAT(
                                '"',
                                __ibis_param_key__,
                                '":',
                                CAST(SIZE(
                                  FILTER(`t10`.`top_genres`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
                                ) AS STRING)
                              )
                            )
                          ) > 0,
                          CONCAT_WS(
                            ',',
                            TRANSFORM(
                              ARRAY_SORT(ARRAY_DISTINCT(`t10`.`top_genres`)),
                              __ibis_param_key__ -> CONCAT(
                                '"',
                                __ibis_param_key__,
                                '":',
                                CAST(SIZE(
                                  FILTER(`t10`.`top_genres`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
                                ) AS STRING)
                              )
                            )
                          ),
                          NULL
                        ),
                        ''
                      ),
                      '}'
                    ),
                    '{}'
                  )
                ) AS `top_genres`,
                CONCAT_WS(
                  '',
                  CAST(`t10`.`event_time_ms` + 1000000000000000 AS STRING),
                  CAST(CAST(`t10`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                  CAST(`t10`.`kafka_offset` + 1000000000000000 AS STRING),
                  COALESCE(
                    CONCAT(
                      '{',
                      NULLIF(
                        IF(
                          SIZE(
                            TRANSFORM(
                              ARRAY_SORT(ARRAY_DISTINCT(`t10`.`top_artists`)),
                              __ibis_param_key__ -> CONCAT(
                                '"',
                                __ibis_param_key__,
                                '":',
                                CAST(SIZE(
                                  FILTER(`t10`.`top_artists`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
                                ) AS STRING)
                              )
                            )
                          ) > 0,
                          CONCAT_WS(
                            ',',
                            TRANSFORM(
                              ARRAY_SORT(ARRAY_DISTINCT(`t10`.`top_artists`)),
                              __ibis_param_key__ -> CONCAT(
                                '"',
                                __ibis_param_key__,
                                '":',
                                CAST(SIZE(
                                  FILTER(`t10`.`top_artists`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
                                ) AS STRING)
                              )
                            )
                          ),
                          NULL
                        ),
                        ''
                      ),
                      '}'
                    ),
                    '{}'
                  )
                ) AS `top_artists`
              FROM (
                SELECT
                  `t9`.`user_id`,
                  `t9`.`event_time_ms`,
                  `t9`.`kafka_partition`,
                  `t9`.`kafka_offset`,
                  COLLECT_LIST(`t9`.`top_genres`) OVER (
                    PARTITION BY `t9`.`user_id`
                    ORDER BY `t9`.`event_time_ms` ASC NULLS LAST
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS `top_genres`,
                  COLLECT_LIST(`t9`.`top_artists`) OVER (
                    PARTITION BY `t9`.`user_id`
                    ORDER BY `t9`.`event_time_ms` ASC NULLS LAST
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                  ) AS `top_artists`
                FROM (
                  SELECT
                    `t7`.`user_id`,
                    `t7`.`event_time_ms`,
                    `t7`.`kafka_partition`,
                    `t7`.`kafka_offset`,
                    IF(
                      (
                        `t7`.`event_type` = 'PLAY'
                      ) AND (
                        NOT `t7`.`track_genre` IS NULL
                      ),
                      HEX(`t7`.`track_genre`),
                      CAST(NULL AS STRING)
                    ) AS `top_genres`,
                    IF(
                      (
                        `t7`.`event_type` = 'PLAY'
                      ) AND (
                        NOT `t7`.`artist_id` IS NULL
                      ),
                      HEX(`t7`.`artist_id`),
                      CAST(NULL AS STRING)
                    ) AS `top_artists`
                  FROM (
                    SELECT
                      `t6`.`event_id`,
                      CONCAT_WS(
                        '|',
                        `t6`.`user_id`,
                        CAST(`t6`.`event_time_ms` - (
                          `t6`.`event_time_ms` % 86400000
                        ) AS STRING)
                      ) AS `user_id`,
                      `t6`.`track_id`,
                      `t6`.`artist_id`,
                      `t6`.`event_type`,
                      `t6`.`event_time_ms`,
                      `t6`.`position_ms`,
                      `t6`.`ms_played`,
                      `t6`.`duration_ms`,
                      `t6`.`content_type`,
                      `t6`.`context`,
                      `t6`.`request_id`,
                      `t6`.`device`,
                      `t6`.`country`,
                      `t6`.`client_version`,
                      `t6`.`kafka_partition`,
                      `t6`.`kafka_offset`,
                      `t6`.`late`,
                      `t6`.`track_genre`
                    FROM `t5` AS `t6`
                    WHERE
                      NOT `t6`.`user_id` IS NULL
                      AND (
                        (
                          (
                            `t6`.`event_type` = 'PLAY'
                          ) AND (
                            NOT `t6`.`track_genre` IS NULL
                          )
                        )
                        OR (
                          (
                            `t6`.`event_type` = 'PLAY'
                          ) AND (
                            NOT `t6`.`artist_id` IS NULL
                          )
                        )
                      )
                  ) AS `t7`
                ) AS `t9`
              ) AS `t10`
            ) AS `t11`
          ) AS `t12`
        ) AS `t13`
        GROUP BY
          1,
          2
      ) AS `t14`
    ) AS `t15`
  ) AS `t16`
) AS `t17`
