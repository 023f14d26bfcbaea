SELECT
  `t8`.`dt`,
  `t8`.`user_id`,
  `t8`.`plays`,
  `t8`.`skips`,
  `t8`.`listen_ms`,
  `t8`.`songs`,
  `t8`.`podcasts`,
  `t8`.`audiobooks`,
  CONCAT(
    '{',
    NULLIF(
      IF(
        SIZE(
          TRANSFORM(
            ARRAY_SORT(ARRAY_DISTINCT(`t8`.`top_genres`)),
            __ibis_param_key__ -> CONCAT(
              '"',
              __ibis_param_key__,
              '":',
              CAST(SIZE(
                FILTER(`t8`.`top_genres`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
              ) AS STRING)
            )
          )
        ) > 0,
        CONCAT_WS(
          ',',
          TRANSFORM(
            ARRAY_SORT(ARRAY_DISTINCT(`t8`.`top_genres`)),
            __ibis_param_key__ -> CONCAT(
              '"',
              __ibis_param_key__,
              '":',
              CAST(SIZE(
                FILTER(`t8`.`top_genres`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
              ) AS STRING)
            )
          )
        ),
        NULL
      ),
      ''
    ),
    '}'
  ) AS `top_genres`,
  CONCAT(
    '{',
    NULLIF(
      IF(
        SIZE(
          TRANSFORM(
            ARRAY_SORT(ARRAY_DISTINCT(`t8`.`top_artists`)),
            __ibis_param_key__ -> CONCAT(
              '"',
              __ibis_param_key__,
              '":',
              CAST(SIZE(
                FILTER(`t8`.`top_artists`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
              ) AS STRING)
            )
          )
        ) > 0,
        CONCAT_WS(
          ',',
          TRANSFORM(
            ARRAY_SORT(ARRAY_DISTINCT(`t8`.`top_artists`)),
            __ibis_param_key__ -> CONCAT(
              '"',
              __ibis_param_key__,
              '":',
              CAST(SIZE(
                FILTER(`t8`.`top_artists`, __ibis_param_v__ -> __ibis_param_v__ = __ibis_param_key__)
              ) AS STRING)
            )
          )
        ),
        NULL
      ),
      ''
    ),
    '}'
  ) AS `top_artists`
FROM (
  SELECT
    `t7`.`dt`,
    `t7`.`user_id`,
    SUM(`t7`.`plays`) AS `plays`,
    SUM(`t7`.`skips`) AS `skips`,
    SUM(`t7`.`listen_ms`) AS `listen_ms`,
    SUM(`t7`.`songs`) AS `songs`,
    SUM(`t7`.`podcasts`) AS `podcasts`,
    SUM(`t7`.`audiobooks`) AS `audiobooks`,
    COLLECT_LIST(`t7`.`top_genres`) AS `top_genres`,
    COLLECT_LIST(`t7`.`top_artists`) AS `top_artists`
  FROM (
    SELECT
      `t6`.`dt`,
      `t6`.`user_id`,
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
      IF(
        (
          `t6`.`event_type` = 'PLAY'
        ) AND (
          NOT `t6`.`track_genre` IS NULL
        ),
        HEX(`t6`.`track_genre`),
        CAST(NULL AS STRING)
      ) AS `top_genres`,
      IF(
        (
          `t6`.`event_type` = 'PLAY'
        ) AND (
          NOT `t6`.`artist_id` IS NULL
        ),
        HEX(`t6`.`artist_id`),
        CAST(NULL AS STRING)
      ) AS `top_artists`
    FROM (
      SELECT
        *
      FROM (
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
          `t2`.`dt`,
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
      ) AS `t5`
      WHERE
        NOT `t5`.`user_id` IS NULL
    ) AS `t6`
  ) AS `t7`
  GROUP BY
    1,
    2
) AS `t8`
