-- track_daily__today_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  CONCAT_WS(
    '|',
    `t0`.`track_id`,
    CAST(`t0`.`event_time_ms` - (
      `t0`.`event_time_ms` % 86400000
    ) AS STRING)
  ) AS `track_id`,
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
    )
    AND (
      (
        `t0`.`content_type` = 'PODCAST_EPISODE'
      )
      OR (
        `t0`.`content_type` = 'AUDIOBOOK_CHAPTER'
      )
    )
    THEN 1
    ELSE 0
  END AS `episode_plays`
FROM `events` AS `t0`
WHERE
  `t0`.`track_id` IS NOT NULL
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
      )
      AND (
        (
          `t0`.`content_type` = 'PODCAST_EPISODE'
        )
        OR (
          `t0`.`content_type` = 'AUDIOBOOK_CHAPTER'
        )
      )
    )
  )

-- track_daily__today_ticks
SELECT * FROM `track_daily__today_ticks_0`

-- track_daily__today_ticks_tiles
SELECT `track_id`, SUM(`plays`) AS `plays`, SUM(`skips`) AS `skips`, SUM(`listen_ms`) AS `listen_ms`, SUM(`episode_plays`) AS `episode_plays`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `track_daily__today_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `track_id`, `window_start`, `window_end`, `window_time`

-- track_daily__today_rows
-- a barrier, rowtime from event_timestamp_ms
SELECT
  `t1`.`track_id`,
  (
    `t1`.`tick_ms` - (
      `t1`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t1`.`plays`,
  `t1`.`skips`,
  `t1`.`listen_ms`,
  `t1`.`episode_plays`
FROM (
  SELECT
    `t0`.`track_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays`,
    SUM(`t0`.`skips`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips`,
    SUM(`t0`.`listen_ms`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms`,
    SUM(`t0`.`episode_plays`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `episode_plays`
  FROM `track_daily__today_ticks_tiles` AS `t0`
) AS `t1`
