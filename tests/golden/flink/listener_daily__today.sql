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
  END AS `audiobooks`
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

-- listener_daily__today_ticks
SELECT * FROM `listener_daily__today_ticks_0`

-- listener_daily__today_ticks_tiles
SELECT `user_id`, SUM(`plays`) AS `plays`, SUM(`skips`) AS `skips`, SUM(`listen_ms`) AS `listen_ms`, SUM(`songs`) AS `songs`, SUM(`podcasts`) AS `podcasts`, SUM(`audiobooks`) AS `audiobooks`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `listener_daily__today_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

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
  `t1`.`audiobooks`
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
    ) AS `audiobooks`
  FROM `listener_daily__today_ticks_tiles` AS `t0`
) AS `t1`
