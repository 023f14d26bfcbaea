-- listener_daily__today_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  CONCAT_WS(
    '|',
    `t0`.`user_id`,
    CAST(`t0`.`event_time_ms` - (
      `t0`.`event_time_ms` % 86400000
    ) AS STRING)
  ) AS `user_id`,
  `t0`.`event_time_ms` AS `tick_ms`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays`,
  CASE WHEN `t0`.`event_type` = 'SKIP' THEN 1 ELSE 0 END AS `skips`,
  CASE
    WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    THEN COALESCE(`t0`.`ms_played`, 0)
    ELSE 0
  END AS `listen_ms`,
  CASE
    WHEN (
      `t0`.`event_type` = 'PLAY'
    ) AND (
      `t0`.`content_type` = 'SONG'
    )
    THEN 1
    ELSE 0
  END AS `songs`,
  CASE
    WHEN (
      `t0`.`event_type` = 'PLAY'
    )
    AND (
      `t0`.`content_type` = 'PODCAST_EPISODE'
    )
    THEN 1
    ELSE 0
  END AS `podcasts`,
  CASE
    WHEN (
      `t0`.`event_type` = 'PLAY'
    )
    AND (
      `t0`.`content_type` = 'AUDIOBOOK_CHAPTER'
    )
    THEN 1
    ELSE 0
  END AS `audiobooks`,
  CAST(NULL AS STRING) AS `top_genres`,
  CAST(NULL AS STRING) AS `top_artists`
FROM `events` AS `t0`
WHERE
  `t0`.`user_id` IS NOT NULL
  AND (
    (
      `t0`.`event_type` = 'PLAY'
    )
    OR (
      `t0`.`event_type` = 'SKIP'
    )
    OR `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    OR (
      (
        `t0`.`event_type` = 'PLAY'
      ) AND (
        `t0`.`content_type` = 'SONG'
      )
    )
    OR (
      (
        `t0`.`event_type` = 'PLAY'
      )
      AND (
        `t0`.`content_type` = 'PODCAST_EPISODE'
      )
    )
    OR (
      (
        `t0`.`event_type` = 'PLAY'
      )
      AND (
        `t0`.`content_type` = 'AUDIOBOOK_CHAPTER'
      )
    )
  )

-- listener_daily__today_ticks_1
-- a barrier, rowtime from tick_ms
SELECT
  `t3`.`user_id`,
  `t3`.`event_time_ms` AS `tick_ms`,
  0 AS `plays`,
  0 AS `skips`,
  0 AS `listen_ms`,
  0 AS `songs`,
  0 AS `podcasts`,
  0 AS `audiobooks`,
  CONCAT_WS(
    '',
    CAST(`t3`.`event_time_ms` + 1000000000000000 AS STRING),
    CAST(CAST(`t3`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
    CAST(`t3`.`kafka_offset` + 1000000000000000 AS STRING),
    `t3`.`top_genres`
  ) AS `top_genres`,
  CONCAT_WS(
    '',
    CAST(`t3`.`event_time_ms` + 1000000000000000 AS STRING),
    CAST(CAST(`t3`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
    CAST(`t3`.`kafka_offset` + 1000000000000000 AS STRING),
    `t3`.`top_artists`
  ) AS `top_artists`
FROM (
  SELECT
    `t2`.`user_id`,
    `t2`.`event_time_ms`,
    `t2`.`kafka_partition`,
    `t2`.`kafka_offset`,
    `t2`.`rowtime`,
    JSON_STRING(
      COLLECT(`t2`.`top_genres`) OVER (
        PARTITION BY `t2`.`user_id`
        ORDER BY `t2`.`rowtime` ASC NULLS LAST
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      )
    ) AS `top_genres`,
    JSON_STRING(
      COLLECT(`t2`.`top_artists`) OVER (
        PARTITION BY `t2`.`user_id`
        ORDER BY `t2`.`rowtime` ASC NULLS LAST
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      )
    ) AS `top_artists`
  FROM (
    SELECT
      `t1`.`user_id`,
      `t1`.`event_time_ms`,
      `t1`.`kafka_partition`,
      `t1`.`kafka_offset`,
      `t1`.`rowtime`,
      CASE
        WHEN (
          `t1`.`event_type` = 'PLAY'
        ) AND (
          `t1`.`track_genre` IS NOT NULL
        )
        THEN HEX(`t1`.`track_genre`)
        ELSE CAST(NULL AS STRING)
      END AS `top_genres`,
      CASE
        WHEN (
          `t1`.`event_type` = 'PLAY'
        ) AND (
          `t1`.`artist_id` IS NOT NULL
        )
        THEN HEX(`t1`.`artist_id`)
        ELSE CAST(NULL AS STRING)
      END AS `top_artists`
    FROM (
      SELECT
        `t0`.`event_id`,
        CONCAT_WS(
          '|',
          `t0`.`user_id`,
          CAST(`t0`.`event_time_ms` - (
            `t0`.`event_time_ms` % 86400000
          ) AS STRING)
        ) AS `user_id`,
        `t0`.`track_id`,
        `t0`.`artist_id`,
        `t0`.`event_type`,
        `t0`.`event_time_ms`,
        `t0`.`position_ms`,
        `t0`.`ms_played`,
        `t0`.`duration_ms`,
        `t0`.`content_type`,
        `t0`.`context`,
        `t0`.`request_id`,
        `t0`.`device`,
        `t0`.`country`,
        `t0`.`client_version`,
        `t0`.`kafka_partition`,
        `t0`.`kafka_offset`,
        `t0`.`late`,
        `t0`.`track_genre`,
        `t0`.`rowtime`
      FROM `events` AS `t0`
      WHERE
        `t0`.`user_id` IS NOT NULL
        AND (
          (
            (
              `t0`.`event_type` = 'PLAY'
            ) AND (
              `t0`.`track_genre` IS NOT NULL
            )
          )
          OR (
            (
              `t0`.`event_type` = 'PLAY'
            ) AND (
              `t0`.`artist_id` IS NOT NULL
            )
          )
        )
    ) AS `t1`
  ) AS `t2`
) AS `t3`

-- listener_daily__today_ticks
SELECT * FROM `listener_daily__today_ticks_0` UNION ALL SELECT * FROM `listener_daily__today_ticks_1`

-- listener_daily__today_ticks_tiles
SELECT `user_id`, SUM(`plays`) AS `plays`, SUM(`skips`) AS `skips`, SUM(`listen_ms`) AS `listen_ms`, SUM(`songs`) AS `songs`, SUM(`podcasts`) AS `podcasts`, SUM(`audiobooks`) AS `audiobooks`, MAX(`top_genres`) AS `top_genres`, MAX(`top_artists`) AS `top_artists`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `listener_daily__today_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

-- listener_daily__today_rows
-- a barrier, rowtime from event_timestamp_ms
SELECT
  `t1`.`user_id`,
  (
    `t1`.`tick_ms` - (
      `t1`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t1`.`plays`,
  `t1`.`skips`,
  `t1`.`listen_ms`,
  `t1`.`songs`,
  `t1`.`podcasts`,
  `t1`.`audiobooks`,
  SUBSTRING(
    `t1`.`top_genres`,
    IF((
      39 + 1
    ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`top_genres`))
  ) AS `top_genres`,
  SUBSTRING(
    `t1`.`top_artists`,
    IF((
      39 + 1
    ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`top_artists`))
  ) AS `top_artists`
FROM (
  SELECT
    `t0`.`user_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays`,
    SUM(`t0`.`skips`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips`,
    SUM(`t0`.`listen_ms`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms`,
    SUM(`t0`.`songs`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `songs`,
    SUM(`t0`.`podcasts`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `podcasts`,
    SUM(`t0`.`audiobooks`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `audiobooks`,
    MAX(`t0`.`top_genres`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `top_genres`,
    MAX(`t0`.`top_artists`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `top_artists`
  FROM `listener_daily__today_ticks_tiles` AS `t0`
) AS `t1`
