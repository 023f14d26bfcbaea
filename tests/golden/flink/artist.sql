-- artist_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`artist_id`,
  `t0`.`event_time_ms` AS `tick_ms`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1m`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1h`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1d`
FROM `events` AS `t0`
WHERE
  `t0`.`artist_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- artist_ticks_1
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`artist_id`,
  `t0`.`event_time_ms` + 60000 AS `tick_ms`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`
FROM `events` AS `t0`
WHERE
  `t0`.`artist_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- artist_ticks_2
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`artist_id`,
  `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
  0 AS `plays_1m`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1h`,
  0 AS `plays_1d`
FROM `events` AS `t0`
WHERE
  `t0`.`artist_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- artist_ticks_3
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`artist_id`,
  `t0`.`event_time_ms` + 86400000 AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1d`
FROM `events` AS `t0`
WHERE
  `t0`.`artist_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- artist_ticks
SELECT * FROM `artist_ticks_0` UNION ALL SELECT * FROM `artist_ticks_1` UNION ALL SELECT * FROM `artist_ticks_2` UNION ALL SELECT * FROM `artist_ticks_3`

-- artist_ticks_tiles
SELECT `artist_id`, SUM(`plays_1m`) AS `plays_1m`, SUM(`plays_1h`) AS `plays_1h`, SUM(`plays_1d`) AS `plays_1d`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `artist_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `artist_id`, `window_start`, `window_end`, `window_time`

-- artist_rows
SELECT
  `t1`.`artist_id`,
  (
    `t1`.`tick_ms` - (
      `t1`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t1`.`plays_1m`,
  `t1`.`plays_1h`,
  `t1`.`plays_1d`
FROM (
  SELECT
    `t0`.`artist_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays_1m`) OVER (
      PARTITION BY `t0`.`artist_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t0`.`plays_1h`) OVER (
      PARTITION BY `t0`.`artist_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t0`.`plays_1d`) OVER (
      PARTITION BY `t0`.`artist_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`
  FROM `artist_ticks_tiles` AS `t0`
) AS `t1`
