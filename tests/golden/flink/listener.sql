-- listener_listed
SELECT
  *
FROM `events` AS `t0`
WHERE
  `t0`.`user_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- listener_ordered
SELECT `event_id`, `user_id`, `track_id`, `artist_id`, `event_type`, `event_time_ms`, `position_ms`, `ms_played`, `duration_ms`, `content_type`, `context`, `request_id`, `device`, `country`, `client_version`, `kafka_partition`, `kafka_offset`, `late`, `track_valence`, `track_energy`, PROCTIME() AS `arrival` FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY `user_id`, `window_start`, `window_end` ORDER BY `event_time_ms`, `kafka_partition`, `kafka_offset`) AS `rank` FROM TABLE(TUMBLE(TABLE `listener_listed`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND))) WHERE `rank` <= 2147483647

-- listener_artists_pairs
-- a barrier, rowtime from event_time_ms
SELECT
  `t1`.`user_id`,
  `t1`.`event_time_ms`,
  SUM(`t1`.`event_time_ms`) OVER (
    PARTITION BY `t1`.`user_id`, `t1`.`distinct_value`
    ORDER BY `t1`.`rowtime` ASC NULLS LAST
    ROWS BETWEEN 1 preceding AND CURRENT ROW
  ) - `t1`.`event_time_ms` AS `previous_ms`
FROM (
  SELECT
    `t0`.`event_id`,
    `t0`.`user_id`,
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
    `t0`.`track_valence`,
    `t0`.`track_energy`,
    `t0`.`rowtime`,
    `t0`.`artist_id` AS `distinct_value`
  FROM `events` AS `t0`
  WHERE
    `t0`.`user_id` IS NOT NULL
    AND `t0`.`event_type` = 'PLAY'
    AND `t0`.`artist_id` IS NOT NULL
) AS `t1`

-- listener_ticks_0
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` AS `tick_ms`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1m`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1h`,
  CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END AS `plays_1d`,
  CASE WHEN `t0`.`event_type` = 'SKIP' THEN 1 ELSE 0 END AS `skips_1h`,
  CASE
    WHEN (
      `t0`.`event_type` = 'SKIP'
    ) AND (
      `t0`.`ms_played` < 5000
    )
    THEN 1
    ELSE 0
  END AS `early_skips_1h`,
  CASE WHEN `t0`.`event_type` = 'PAUSE' THEN 1 ELSE 0 END AS `pauses_1h`,
  CASE WHEN `t0`.`event_type` = 'COMPLETE' THEN 1 ELSE 0 END AS `completes_1h`,
  CASE WHEN `t0`.`event_type` = 'LIKE' THEN 1 ELSE 0 END AS `likes_1d`,
  CASE
    WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    THEN COALESCE(`t0`.`ms_played`, 0)
    ELSE 0
  END AS `listen_ms_1h`,
  CASE WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END AS `ends_1h`,
  CASE
    WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    AND (
      `t0`.`ms_played` >= 30000
    )
    THEN 1
    ELSE 0
  END AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
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
    OR (
      `t0`.`event_type` = 'LIKE'
    )
    OR `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
    OR (
      `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
      AND (
        `t0`.`ms_played` >= 30000
      )
    )
  )

-- listener_ticks_1
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` + 60000 AS `tick_ms`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
FROM `events` AS `t0`
WHERE
  `t0`.`user_id` IS NOT NULL AND `t0`.`event_type` = 'PLAY'

-- listener_ticks_2
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
  0 AS `plays_1m`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1h`,
  0 AS `plays_1d`,
  -(
    CASE WHEN `t0`.`event_type` = 'SKIP' THEN 1 ELSE 0 END
  ) AS `skips_1h`,
  -(
    CASE
      WHEN (
        `t0`.`event_type` = 'SKIP'
      ) AND (
        `t0`.`ms_played` < 5000
      )
      THEN 1
      ELSE 0
    END
  ) AS `early_skips_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'PAUSE' THEN 1 ELSE 0 END
  ) AS `pauses_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'COMPLETE' THEN 1 ELSE 0 END
  ) AS `completes_1h`,
  0 AS `likes_1d`,
  -(
    CASE
      WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
      THEN COALESCE(`t0`.`ms_played`, 0)
      ELSE 0
    END
  ) AS `listen_ms_1h`,
  -(
    CASE WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP') THEN 1 ELSE 0 END
  ) AS `ends_1h`,
  -(
    CASE
      WHEN `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
      AND (
        `t0`.`ms_played` >= 30000
      )
      THEN 1
      ELSE 0
    END
  ) AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
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
    OR (
      `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
      AND (
        `t0`.`ms_played` >= 30000
      )
    )
  )

-- listener_ticks_3
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` + 86400000 AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'PLAY' THEN 1 ELSE 0 END
  ) AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  -(
    CASE WHEN `t0`.`event_type` = 'LIKE' THEN 1 ELSE 0 END
  ) AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
FROM `events` AS `t0`
WHERE
  `t0`.`user_id` IS NOT NULL
  AND (
    (
      `t0`.`event_type` = 'PLAY'
    ) OR (
      `t0`.`event_type` = 'LIKE'
    )
  )

-- listener_ticks_4
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  CASE
    WHEN (
      `t0`.`event_time_ms` - `t0`.`previous_ms`
    ) >= 3600000
    THEN 1
    ELSE 0
  END AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
FROM `listener_artists_pairs` AS `t0`

-- listener_ticks_5
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  -(
    1
  ) AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
FROM `listener_artists_pairs` AS `t0`

-- listener_ticks_6
-- a barrier, rowtime from tick_ms
SELECT
  `t0`.`user_id`,
  `t0`.`previous_ms` + 3600000 AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  1 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
FROM `listener_artists_pairs` AS `t0`
WHERE
  (
    `t0`.`event_time_ms` - `t0`.`previous_ms`
  ) < 3600000

-- listener_ticks_7
-- a barrier, rowtime from tick_ms
SELECT
  `t2`.`user_id`,
  `t2`.`event_time_ms` AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CONCAT_WS(
    '',
    CAST(`t2`.`event_time_ms` + 1000000000000000 AS STRING),
    CAST(CAST(`t2`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
    CAST(`t2`.`kafka_offset` + 1000000000000000 AS STRING),
    `t2`.`held`
  ) AS `last_5_tracks`,
  CAST(NULL AS STRING) AS `valence_last_20__sum`
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
    `t1`.`track_valence`,
    `t1`.`track_energy`,
    `t1`.`arrival`,
    REVERSE(
      ARRAY_JOIN(
        ARRAY_AGG(REVERSE(`t1`.`track_id`)) OVER (
          PARTITION BY `t1`.`user_id`
          ORDER BY `t1`.`arrival` ASC NULLS LAST
          ROWS BETWEEN 19 preceding AND CURRENT ROW
        ),
        '\x1f'
      )
    ) AS `held`
  FROM (
    SELECT
      *
    FROM `listener_ordered` AS `t0`
    WHERE
      `t0`.`event_type` = 'PLAY' AND `t0`.`track_id` IS NOT NULL
  ) AS `t1`
) AS `t2`

-- listener_ticks_8
-- a barrier, rowtime from tick_ms
SELECT
  `t2`.`user_id`,
  `t2`.`event_time_ms` AS `tick_ms`,
  0 AS `plays_1m`,
  0 AS `plays_1h`,
  0 AS `plays_1d`,
  0 AS `skips_1h`,
  0 AS `early_skips_1h`,
  0 AS `pauses_1h`,
  0 AS `completes_1h`,
  0 AS `likes_1d`,
  0 AS `listen_ms_1h`,
  0 AS `ends_1h`,
  0 AS `kept_30s_1h`,
  0 AS `artists_1h`,
  CAST(NULL AS STRING) AS `last_5_tracks`,
  CONCAT_WS(
    '',
    CAST(`t2`.`event_time_ms` + 1000000000000000 AS STRING),
    CAST(CAST(`t2`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
    CAST(`t2`.`kafka_offset` + 1000000000000000 AS STRING),
    `t2`.`held`
  ) AS `valence_last_20__sum`
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
    `t1`.`track_valence`,
    `t1`.`track_energy`,
    `t1`.`arrival`,
    CONCAT_WS(
      '\x1f',
      CAST(SUM(CASE WHEN `t1`.`track_valence` IS NOT NULL THEN `t1`.`track_valence` ELSE 0 END) OVER (
        PARTITION BY `t1`.`user_id`
        ORDER BY `t1`.`arrival` ASC NULLS LAST
        ROWS BETWEEN 19 preceding AND CURRENT ROW
      ) AS STRING),
      CAST(SUM(CASE WHEN `t1`.`track_valence` IS NOT NULL THEN 1 ELSE 0 END) OVER (
        PARTITION BY `t1`.`user_id`
        ORDER BY `t1`.`arrival` ASC NULLS LAST
        ROWS BETWEEN 19 preceding AND CURRENT ROW
      ) AS STRING),
      CAST(SUM(CASE WHEN `t1`.`track_energy` IS NOT NULL THEN `t1`.`track_energy` ELSE 0 END) OVER (
        PARTITION BY `t1`.`user_id`
        ORDER BY `t1`.`arrival` ASC NULLS LAST
        ROWS BETWEEN 19 preceding AND CURRENT ROW
      ) AS STRING),
      CAST(SUM(CASE WHEN `t1`.`track_energy` IS NOT NULL THEN 1 ELSE 0 END) OVER (
        PARTITION BY `t1`.`user_id`
        ORDER BY `t1`.`arrival` ASC NULLS LAST
        ROWS BETWEEN 19 preceding AND CURRENT ROW
      ) AS STRING)
    ) AS `held`
  FROM (
    SELECT
      *
    FROM `listener_ordered` AS `t0`
    WHERE
      `t0`.`event_type` = 'PLAY'
  ) AS `t1`
) AS `t2`

-- listener_ticks
SELECT * FROM `listener_ticks_0` UNION ALL SELECT * FROM `listener_ticks_1` UNION ALL SELECT * FROM `listener_ticks_2` UNION ALL SELECT * FROM `listener_ticks_3` UNION ALL SELECT * FROM `listener_ticks_4` UNION ALL SELECT * FROM `listener_ticks_5` UNION ALL SELECT * FROM `listener_ticks_6` UNION ALL SELECT * FROM `listener_ticks_7` UNION ALL SELECT * FROM `listener_ticks_8`

-- listener_ticks_tiles
SELECT `user_id`, SUM(`plays_1m`) AS `plays_1m`, SUM(`plays_1h`) AS `plays_1h`, SUM(`plays_1d`) AS `plays_1d`, SUM(`skips_1h`) AS `skips_1h`, SUM(`early_skips_1h`) AS `early_skips_1h`, SUM(`pauses_1h`) AS `pauses_1h`, SUM(`completes_1h`) AS `completes_1h`, SUM(`likes_1d`) AS `likes_1d`, SUM(`listen_ms_1h`) AS `listen_ms_1h`, SUM(`ends_1h`) AS `ends_1h`, SUM(`kept_30s_1h`) AS `kept_30s_1h`, SUM(`artists_1h`) AS `artists_1h`, MAX(`last_5_tracks`) AS `last_5_tracks`, MAX(`valence_last_20__sum`) AS `valence_last_20__sum`, MAX(`tick_ms`) AS `tick_ms`, `window_time` AS `rowtime`, PROCTIME() AS `arrival` FROM TABLE(TUMBLE(TABLE `listener_ticks`, DESCRIPTOR(`rowtime`), INTERVAL '1' SECOND)) GROUP BY `user_id`, `window_start`, `window_end`, `window_time`

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
  `t1`.`likes_1d`,
  `t1`.`listen_ms_1h`,
  `t1`.`ends_1h`,
  `t1`.`kept_30s_1h`,
  `t1`.`artists_1h`,
  CASE
    WHEN `t1`.`plays_1h` = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(`t1`.`skips_1h` AS DOUBLE) AS DOUBLE) / CAST(CAST(`t1`.`plays_1h` AS DOUBLE) AS DOUBLE)
  END AS `skip_rate_1h`,
  CASE
    WHEN `t1`.`plays_1h` = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(`t1`.`early_skips_1h` AS DOUBLE) AS DOUBLE) / CAST(CAST(`t1`.`plays_1h` AS DOUBLE) AS DOUBLE)
  END AS `early_skip_rate_1h`,
  CASE
    WHEN `t1`.`plays_1h` = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(`t1`.`completes_1h` AS DOUBLE) AS DOUBLE) / CAST(CAST(`t1`.`plays_1h` AS DOUBLE) AS DOUBLE)
  END AS `completion_rate_1h`,
  CASE
    WHEN `t1`.`ends_1h` = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(`t1`.`kept_30s_1h` AS DOUBLE) AS DOUBLE) / CAST(CAST(`t1`.`ends_1h` AS DOUBLE) AS DOUBLE)
  END AS `retention_30s_1h`,
  ARRAY_SLICE(
    SPLIT(
      SUBSTRING(
        `t1`.`last_5_tracks`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`last_5_tracks`))
      ),
      '\x1f'
    ),
    IF(0 >= 0, 0 + 1, 0),
    IF(
      5 >= 0,
      5,
      CARDINALITY(
        SPLIT(
          SUBSTRING(
            `t1`.`last_5_tracks`,
            IF((
              39 + 1
            ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`last_5_tracks`))
          ),
          '\x1f'
        )
      ) - ABS(5)
    )
  ) AS `last_5_tracks`,
  SPLIT(
    SUBSTRING(
      `t1`.`last_5_tracks`,
      IF((
        39 + 1
      ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`last_5_tracks`))
    ),
    '\x1f'
  ) AS `last_20_tracks`,
  CASE
    WHEN COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[1 + 1] AS BIGINT),
      0
    ) = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[0 + 1] AS BIGINT),
      0
    ) AS DOUBLE) AS DOUBLE) / CAST(CAST(COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[1 + 1] AS BIGINT),
      0
    ) AS DOUBLE) AS DOUBLE)
  END AS `valence_last_20`,
  CASE
    WHEN COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[3 + 1] AS BIGINT),
      0
    ) = 0
    THEN CAST(NULL AS DOUBLE)
    ELSE CAST(CAST(COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[2 + 1] AS BIGINT),
      0
    ) AS DOUBLE) AS DOUBLE) / CAST(CAST(COALESCE(
      CAST(SPLIT(
        SUBSTRING(
          `t1`.`valence_last_20__sum`,
          IF((
            39 + 1
          ) >= 1, 39 + 1, 39 + 1 + CHAR_LENGTH(`t1`.`valence_last_20__sum`))
        ),
        '\x1f'
      )[3 + 1] AS BIGINT),
      0
    ) AS DOUBLE) AS DOUBLE)
  END AS `energy_last_20`
FROM (
  SELECT
    `t0`.`user_id`,
    `t0`.`tick_ms`,
    SUM(`t0`.`plays_1m`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t0`.`plays_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t0`.`plays_1d`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`,
    SUM(`t0`.`skips_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips_1h`,
    SUM(`t0`.`early_skips_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `early_skips_1h`,
    SUM(`t0`.`pauses_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `pauses_1h`,
    SUM(`t0`.`completes_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `completes_1h`,
    SUM(`t0`.`likes_1d`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `likes_1d`,
    SUM(`t0`.`listen_ms_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms_1h`,
    SUM(`t0`.`ends_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `ends_1h`,
    SUM(`t0`.`kept_30s_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `kept_30s_1h`,
    SUM(`t0`.`artists_1h`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `artists_1h`,
    MAX(`t0`.`last_5_tracks`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_5_tracks`,
    MAX(`t0`.`valence_last_20__sum`) OVER (
      PARTITION BY `t0`.`user_id`
      ORDER BY `t0`.`arrival` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `valence_last_20__sum`
  FROM `listener_ticks_tiles` AS `t0`
) AS `t1`
