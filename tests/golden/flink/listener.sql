-- listener_ticks
-- a barrier, rowtime from tick_ms
SELECT
  *
FROM (
  SELECT
    *
  FROM (
    SELECT
      *
    FROM (
      SELECT
        *
      FROM (
        SELECT
          `t0`.`user_id`,
          `t0`.`event_time_ms` AS `tick_ms`,
          IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1m`,
          IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1h`,
          IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1d`,
          IF(`t0`.`event_type` = 'SKIP', 1, 0) AS `skips_1h`,
          IF((
            `t0`.`event_type` = 'SKIP'
          ) AND (
            `t0`.`ms_played` < 5000
          ), 1, 0) AS `early_skips_1h`,
          IF(`t0`.`event_type` = 'PAUSE', 1, 0) AS `pauses_1h`,
          IF(`t0`.`event_type` = 'COMPLETE', 1, 0) AS `completes_1h`,
          IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t0`.`ms_played`, 0), 0) AS `listen_ms_1h`,
          CAST(NULL AS STRING) AS `last_5_tracks`
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
            OR (
              (
                `t0`.`event_type` = 'SKIP'
              ) AND (
                `t0`.`ms_played` < 5000
              )
            )
            OR (
              `t0`.`event_type` = 'PAUSE'
            )
            OR (
              `t0`.`event_type` = 'COMPLETE'
            )
            OR `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
          )
      ) AS `t6`
      UNION ALL
      SELECT
        *
      FROM (
        SELECT
          `t0`.`user_id`,
          `t0`.`event_time_ms` + 60000 AS `tick_ms`,
          -(
            IF(`t0`.`event_type` = 'PLAY', 1, 0)
          ) AS `plays_1m`,
          0 AS `plays_1h`,
          0 AS `plays_1d`,
          0 AS `skips_1h`,
          0 AS `early_skips_1h`,
          0 AS `pauses_1h`,
          0 AS `completes_1h`,
          0 AS `listen_ms_1h`,
          CAST(NULL AS STRING) AS `last_5_tracks`
        FROM `events` AS `t0`
        WHERE
          `t0`.`user_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'
      ) AS `t3`
    ) AS `t7`
    UNION ALL
    SELECT
      *
    FROM (
      SELECT
        `t0`.`user_id`,
        `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
        0 AS `plays_1m`,
        -(
          IF(`t0`.`event_type` = 'PLAY', 1, 0)
        ) AS `plays_1h`,
        0 AS `plays_1d`,
        -(
          IF(`t0`.`event_type` = 'SKIP', 1, 0)
        ) AS `skips_1h`,
        -(
          IF((
            `t0`.`event_type` = 'SKIP'
          ) AND (
            `t0`.`ms_played` < 5000
          ), 1, 0)
        ) AS `early_skips_1h`,
        -(
          IF(`t0`.`event_type` = 'PAUSE', 1, 0)
        ) AS `pauses_1h`,
        -(
          IF(`t0`.`event_type` = 'COMPLETE', 1, 0)
        ) AS `completes_1h`,
        -(
          IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t0`.`ms_played`, 0), 0)
        ) AS `listen_ms_1h`,
        CAST(NULL AS STRING) AS `last_5_tracks`
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
          OR (
            (
              `t0`.`event_type` = 'SKIP'
            ) AND (
              `t0`.`ms_played` < 5000
            )
          )
          OR (
            `t0`.`event_type` = 'PAUSE'
          )
          OR (
            `t0`.`event_type` = 'COMPLETE'
          )
          OR `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
        )
    ) AS `t5`
  ) AS `t8`
  UNION ALL
  SELECT
    *
  FROM (
    SELECT
      `t0`.`user_id`,
      `t0`.`event_time_ms` + 86400000 AS `tick_ms`,
      0 AS `plays_1m`,
      0 AS `plays_1h`,
      -(
        IF(`t0`.`event_type` = 'PLAY', 1, 0)
      ) AS `plays_1d`,
      0 AS `skips_1h`,
      0 AS `early_skips_1h`,
      0 AS `pauses_1h`,
      0 AS `completes_1h`,
      0 AS `listen_ms_1h`,
      CAST(NULL AS STRING) AS `last_5_tracks`
    FROM `events` AS `t0`
    WHERE
      `t0`.`user_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'
  ) AS `t2`
) AS `t9`
UNION ALL
SELECT
  *
FROM (
  SELECT
    `t4`.`user_id`,
    `t4`.`event_time_ms` AS `tick_ms`,
    0 AS `plays_1m`,
    0 AS `plays_1h`,
    0 AS `plays_1d`,
    0 AS `skips_1h`,
    0 AS `early_skips_1h`,
    0 AS `pauses_1h`,
    0 AS `completes_1h`,
    0 AS `listen_ms_1h`,
    CONCAT_WS(
      '',
      CAST(`t4`.`event_time_ms` + 1000000000000000 AS STRING),
      CAST(CAST(`t4`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
      CAST(`t4`.`kafka_offset` + 1000000000000000 AS STRING),
      REVERSE(ARRAY_JOIN(`t4`.`names`, '\x1f'))
    ) AS `last_5_tracks`
  FROM (
    SELECT
      `t1`.`event_id`,
      `t1`.`user_id`,
      `t1`.`track_id`,
      `t1`.`artist_id`,
      `t1`.`event_type`,
      `t1`.`event_time_ms`,
      `t1`.`position_ms`,
      `t1`.`ms_played`,
      `t1`.`duration_ms`,
      `t1`.`content_type`,
      `t1`.`context`,
      `t1`.`request_id`,
      `t1`.`device`,
      `t1`.`country`,
      `t1`.`client_version`,
      `t1`.`kafka_partition`,
      `t1`.`kafka_offset`,
      `t1`.`late`,
      `t1`.`rowtime`,
      ARRAY_AGG(REVERSE(`t1`.`track_id`)) OVER (
        PARTITION BY `t1`.`user_id`
        ORDER BY `t1`.`rowtime` ASC NULLS LAST
        ROWS BETWEEN 4 preceding AND CURRENT ROW
      ) AS `names`
    FROM (
      SELECT
        *
      FROM `events` AS `t0`
      WHERE
        `t0`.`user_id` IS NOT NULL
        AND `t0`.`event_type` = 'PLAY'
        AND `t0`.`track_id` IS NOT NULL
    ) AS `t1`
  ) AS `t4`
) AS `t10`

-- listener_tiles
SELECT `user_id`, SUM(`plays_1m`) AS `plays_1m`, SUM(`plays_1h`) AS `plays_1h`, SUM(`plays_1d`) AS `plays_1d`, SUM(`skips_1h`) AS `skips_1h`, SUM(`early_skips_1h`) AS `early_skips_1h`, SUM(`pauses_1h`) AS `pauses_1h`, SUM(`completes_1h`) AS `completes_1h`, SUM(`listen_ms_1h`) AS `listen_ms_1h`, MAX(`last_5_tracks`) AS `last_5_tracks`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime` FROM TABLE(TUMBLE(TABLE `listener_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

-- listener_rows
SELECT
  `t1`.`user_id`,
  (
    `t1`.`tick_ms` - (
      `t1`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t1`.`plays_1m`,
  `t1`.`plays_1h`,
  `t1`.`plays_1d`,
  `t1`.`skips_1h`,
  `t1`.`early_skips_1h`,
  `t1`.`pauses_1h`,
  `t1`.`completes_1h`,
  `t1`.`listen_ms_1h`,
  IF(
    `t1`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(CAST(`t1`.`skips_1h` AS DOUBLE) AS DOUBLE) / CAST(CAST(`t1`.`plays_1h` AS DOUBLE) AS DOUBLE)
  ) AS `skip_rate_1h`,
  SPLIT(
    SUBSTRING(
      `t1`.`last_5_tracks`,
      IF((
        39 + 1
      ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`last_5_tracks`))
    ),
    '\x1f'
  ) AS `last_5_tracks`
FROM (
  SELECT
    `t0`.`user_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays_1m`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t0`.`plays_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t0`.`plays_1d`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`,
    SUM(`t0`.`skips_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips_1h`,
    SUM(`t0`.`early_skips_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `early_skips_1h`,
    SUM(`t0`.`pauses_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `pauses_1h`,
    SUM(`t0`.`completes_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `completes_1h`,
    SUM(`t0`.`listen_ms_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms_1h`,
    MAX(`t0`.`last_5_tracks`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`rowtime` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_5_tracks`
  FROM `listener_tiles` AS `t0`
) AS `t1`
