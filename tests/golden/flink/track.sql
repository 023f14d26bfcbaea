-- track_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`track_id`,
  `t0`.`event_time_ms` AS `tick_ms`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1m`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1h`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1d`,
  CASE WHEN `t0`.`event_type` = 'SKIP' THEN 1 ELSE 0 END AS `skips_1h`
FROM `events` AS `t0`
WHERE
  `t0`.`track_id` IS NOT NULL
  AND (
    (
      `t0`.`event_type` = 'PLAY'
    ) OR (
      `t0`.`event_type` = 'SKIP'
    )
  )

-- track_ticks_1
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`track_id`,
  `t0`.`event_time_ms` + 60000 AS `tick_ms`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`
FROM `events` AS `t0`
WHERE
  `t0`.`track_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- track_ticks_2
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`track_id`,
  `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
  0 AS `plays_1m`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1h`,
  0 AS `plays_1d`,
  -(
    CASE WHEN `t0`.`event_type` = 'SKIP' THEN 1 ELSE 0 END
  ) AS `skips_1h`
FROM `events` AS `t0`
WHERE
  `t0`.`track_id` IS NOT NULL
  AND (
    (
      `t0`.`event_type` = 'PLAY'
    ) OR (
      `t0`.`event_type` = 'SKIP'
    )
  )

-- track_ticks_3
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`track_id`,
  `t0`.`event_time_ms` + 86400000 AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1d`,
  0 AS `skips_1h`
FROM `events` AS `t0`
WHERE
  `t0`.`track_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- track_ticks
SELECT * FROM `track_ticks_0` UNION ALL SELECT * FROM `track_ticks_1` UNION ALL SELECT * FROM `track_ticks_2` UNION ALL SELECT * FROM `track_ticks_3`

-- track_ticks_tiles
SELECT `track_id`, SUM(`plays_1m`) AS `plays_1m`, SUM(`plays_1h`) AS `plays_1h`, SUM(`plays_1d`) AS `plays_1d`, SUM(`skips_1h`) AS `skips_1h`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `track_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `track_id`, `window_start`, `window_end`, `window_time`

-- track_rows
SELECT
  `t1`.`track_id`,
  (
    `t1`.`tick_ms` - (
      `t1`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t1`.`plays_1m`,
  `t1`.`plays_1h`,
  `t1`.`plays_1d`,
  `t1`.`skips_1h`
FROM (
  SELECT
    `t0`.`track_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays_1m`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t0`.`plays_1h`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t0`.`plays_1d`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`,
    SUM(`t0`.`skips_1h`) OVER (
      PARTITION BY `t0`.`track_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips_1h`
  FROM `track_ticks_tiles` AS `t0`
) AS `t1`
