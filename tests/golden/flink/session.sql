-- session_pairs
SELECT *, PROCTIME() AS `arrival` FROM (SELECT
  `t1`.`user_id`,
  `t1`.`event_time_ms`,
  `t1`.`rowtime`,
  SUM(`t1`.`event_time_ms`) OVER (
    PARTITION BY `t1`.`user_id`
    ORDER BY `t1`.`rowtime` ASC NULLS LAST
    ROWS BETWEEN 1 preceding AND CURRENT ROW
  ) - `t1`.`event_time_ms` AS `previous_ms`,
  CASE WHEN `t1`.`event_time_ms` IS NOT NULL THEN 1 ELSE 0 END AS `own_events`,
  CASE WHEN `t1`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `own_session_plays`,
  CASE WHEN `t1`.`event_type` = 'SKIP' THEN 1 ELSE 0 END AS `own_session_skips`,
  CASE
    WHEN `t1`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    THEN COALESCE(`t1`.`ms_played`, 0)
    ELSE 0
  END AS `own_session_listen_ms`
FROM (
  SELECT
    *
  FROM `events` AS `t0`
  WHERE
    `t0`.`user_id` IS NOT NULL
) AS `t1`)

-- session_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  `t2`.`user_id`,
  `t2`.`event_time_ms` AS `tick_ms`,
  `t2`.`event_time_ms` AS `last_event_ms`,
  `t2`.`opened_ms`,
  `t2`.`total_events`,
  `t2`.`total_session_plays`,
  `t2`.`total_session_skips`,
  `t2`.`total_session_listen_ms`,
  CASE
    WHEN `t2`.`opened_ms` IS NOT NULL
    THEN `t2`.`total_events` - `t2`.`own_events`
    ELSE CAST(NULL AS BIGINT)
  END AS `before_events`,
  CASE
    WHEN `t2`.`opened_ms` IS NOT NULL
    THEN `t2`.`total_session_plays` - `t2`.`own_session_plays`
    ELSE CAST(NULL AS BIGINT)
  END AS `before_session_plays`,
  CASE
    WHEN `t2`.`opened_ms` IS NOT NULL
    THEN `t2`.`total_session_skips` - `t2`.`own_session_skips`
    ELSE CAST(NULL AS BIGINT)
  END AS `before_session_skips`,
  CASE
    WHEN `t2`.`opened_ms` IS NOT NULL
    THEN `t2`.`total_session_listen_ms` - `t2`.`own_session_listen_ms`
    ELSE CAST(NULL AS BIGINT)
  END AS `before_session_listen_ms`
FROM (
  SELECT
    `t1`.`user_id`,
    `t1`.`event_time_ms`,
    `t1`.`opened_ms`,
    `t1`.`own_events`,
    `t1`.`own_session_plays`,
    `t1`.`own_session_skips`,
    `t1`.`own_session_listen_ms`,
    SUM(`t1`.`own_events`) OVER (
      PARTITION BY `t1`.`user_id`
      ORDER BY `t1`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_events`,
    SUM(`t1`.`own_session_plays`) OVER (
      PARTITION BY `t1`.`user_id`
      ORDER BY `t1`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_plays`,
    SUM(`t1`.`own_session_skips`) OVER (
      PARTITION BY `t1`.`user_id`
      ORDER BY `t1`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_skips`,
    SUM(`t1`.`own_session_listen_ms`) OVER (
      PARTITION BY `t1`.`user_id`
      ORDER BY `t1`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_listen_ms`
  FROM (
    SELECT
      `t0`.`user_id`,
      `t0`.`event_time_ms`,
      `t0`.`rowtime`,
      `t0`.`previous_ms`,
      `t0`.`own_events`,
      `t0`.`own_session_plays`,
      `t0`.`own_session_skips`,
      `t0`.`own_session_listen_ms`,
      `t0`.`arrival`,
      CASE
        WHEN (
          `t0`.`event_time_ms` - `t0`.`previous_ms`
        ) > 1800000
        THEN `t0`.`event_time_ms`
        ELSE CAST(NULL AS BIGINT)
      END AS `opened_ms`
    FROM `session_pairs` AS `t0`
  ) AS `t1`
) AS `t2`

-- session_ticks_1
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` + 1800000 AS `tick_ms`,
  CAST(NULL AS BIGINT) AS `last_event_ms`,
  CAST(NULL AS BIGINT) AS `opened_ms`,
  CAST(NULL AS BIGINT) AS `total_events`,
  CAST(NULL AS BIGINT) AS `total_session_plays`,
  CAST(NULL AS BIGINT) AS `total_session_skips`,
  CAST(NULL AS BIGINT) AS `total_session_listen_ms`,
  CAST(NULL AS BIGINT) AS `before_events`,
  CAST(NULL AS BIGINT) AS `before_session_plays`,
  CAST(NULL AS BIGINT) AS `before_session_skips`,
  CAST(NULL AS BIGINT) AS `before_session_listen_ms`
FROM `events` AS `t0`
WHERE
  `t0`.`user_id` IS NOT NULL

-- session_ticks
SELECT * FROM `session_ticks_0` UNION ALL SELECT * FROM `session_ticks_1`

-- session_progress
SELECT
  `t1`.`user_id`,
  `t1`.`tick_ms`,
  `t1`.`rowtime`,
  `t1`.`last_event_ms`,
  `t1`.`opened_ms`,
  `t1`.`total_events`,
  `t1`.`total_session_plays`,
  `t1`.`total_session_skips`,
  `t1`.`total_session_listen_ms`,
  `t1`.`before_events`,
  `t1`.`before_session_plays`,
  `t1`.`before_session_skips`,
  `t1`.`before_session_listen_ms`,
  NOT CAST(`t1`.`is_entry` AS BOOLEAN)
  AND (
    `t1`.`tick_ms` = (
      `t1`.`last_event_ms` + 1800000
    )
  ) AS `ends`
FROM (
  SELECT
    `t0`.`user_id`,
    `t0`.`tick_ms`,
    `t0`.`rowtime`,
    `t0`.`last_event_ms` IS NOT NULL AS `is_entry`,
    MAX(`t0`.`last_event_ms`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_event_ms`,
    MAX(`t0`.`opened_ms`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `opened_ms`,
    MAX(`t0`.`total_events`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_events`,
    MAX(`t0`.`total_session_plays`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_plays`,
    MAX(`t0`.`total_session_skips`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_skips`,
    MAX(`t0`.`total_session_listen_ms`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `total_session_listen_ms`,
    MAX(`t0`.`before_events`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `before_events`,
    MAX(`t0`.`before_session_plays`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `before_session_plays`,
    MAX(`t0`.`before_session_skips`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `before_session_skips`,
    MAX(`t0`.`before_session_listen_ms`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `before_session_listen_ms`
  FROM `session_ticks` AS `t0`
) AS `t1`
WHERE
  `t1`.`is_entry`
  OR (
    NOT CAST(`t1`.`is_entry` AS BOOLEAN)
    AND (
      `t1`.`tick_ms` = (
        `t1`.`last_event_ms` + 1800000
      )
    )
  )

-- session_ends
SELECT
  *
FROM `session_progress` AS `t0`
WHERE
  `t0`.`ends`

-- session_progress_tiles
SELECT `user_id`, MAX(`last_event_ms`) AS `last_event_ms`, MAX(`opened_ms`) AS `opened_ms`, MAX(`total_events`) AS `total_events`, MAX(`total_session_plays`) AS `total_session_plays`, MAX(`total_session_skips`) AS `total_session_skips`, MAX(`total_session_listen_ms`) AS `total_session_listen_ms`, MAX(`before_events`) AS `before_events`, MAX(`before_session_plays`) AS `before_session_plays`, MAX(`before_session_skips`) AS `before_session_skips`, MAX(`before_session_listen_ms`) AS `before_session_listen_ms`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `session_progress`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

-- session_ends_tiles
SELECT `user_id`, MAX(`last_event_ms`) AS `last_event_ms`, MAX(`opened_ms`) AS `opened_ms`, MAX(`total_events`) AS `total_events`, MAX(`total_session_plays`) AS `total_session_plays`, MAX(`total_session_skips`) AS `total_session_skips`, MAX(`total_session_listen_ms`) AS `total_session_listen_ms`, MAX(`before_events`) AS `before_events`, MAX(`before_session_plays`) AS `before_session_plays`, MAX(`before_session_skips`) AS `before_session_skips`, MAX(`before_session_listen_ms`) AS `before_session_listen_ms`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `session_ends`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

-- session_rows
SELECT
  `t1`.`user_id`,
  `t1`.`event_timestamp_ms`,
  CASE
    WHEN `t1`.`event_timestamp_ms` <= (
      `t1`.`last_event_ms` + 1800000
    )
    THEN `t1`.`opened_ms`
    ELSE CAST(NULL AS BIGINT)
  END AS `session_start`,
  CASE
    WHEN `t1`.`event_timestamp_ms` <= (
      `t1`.`last_event_ms` + 1800000
    )
    THEN `t1`.`total_session_plays` - `t1`.`before_session_plays`
    ELSE CAST(NULL AS BIGINT)
  END AS `session_plays`,
  CASE
    WHEN `t1`.`event_timestamp_ms` <= (
      `t1`.`last_event_ms` + 1800000
    )
    THEN `t1`.`total_session_skips` - `t1`.`before_session_skips`
    ELSE CAST(NULL AS BIGINT)
  END AS `session_skips`,
  CASE
    WHEN `t1`.`event_timestamp_ms` <= (
      `t1`.`last_event_ms` + 1800000
    )
    THEN `t1`.`total_session_listen_ms` - `t1`.`before_session_listen_ms`
    ELSE CAST(NULL AS BIGINT)
  END AS `session_listen_ms`
FROM (
  SELECT
    `t0`.`user_id`,
    `t0`.`last_event_ms`,
    `t0`.`opened_ms`,
    `t0`.`total_events`,
    `t0`.`total_session_plays`,
    `t0`.`total_session_skips`,
    `t0`.`total_session_listen_ms`,
    `t0`.`before_events`,
    `t0`.`before_session_plays`,
    `t0`.`before_session_skips`,
    `t0`.`before_session_listen_ms`,
    `t0`.`tick_ms`,
    `t0`.`arrival`,
    `t0`.`rowtime`,
    (
      `t0`.`tick_ms` - (
        `t0`.`tick_ms` % 1000
      )
    ) + 1000 AS `event_timestamp_ms`
  FROM `session_progress_tiles` AS `t0`
) AS `t1`

-- session_closed
SELECT
  `t0`.`user_id`,
  `t0`.`opened_ms` AS `session_start_ms`,
  `t0`.`last_event_ms` AS `session_end_ms`,
  `t0`.`total_events` - `t0`.`before_events` AS `events`,
  `t0`.`total_session_plays` - `t0`.`before_session_plays` AS `session_plays`,
  `t0`.`total_session_skips` - `t0`.`before_session_skips` AS `session_skips`,
  `t0`.`total_session_listen_ms` - `t0`.`before_session_listen_ms` AS `session_listen_ms`
FROM `session_ends_tiles` AS `t0`
