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
    `t4`.`track_artist_id`,
    `t4`.`track_genre`,
    `t4`.`track_tempo`,
    `t4`.`track_valence`,
    `t4`.`track_energy`,
    `t4`.`track_duration_ms`
  FROM `events` AS `t2`
  LEFT OUTER JOIN (
    SELECT
      `t1`.`track_id` AS `dimension_key`,
      `t1`.`valid_from_ms` AS `dimension_since`,
      COALESCE(
        LEAD(`t1`.`valid_from_ms`) OVER (PARTITION BY `t1`.`track_id` ORDER BY `t1`.`valid_from_ms` ASC NULLS LAST),
        4611686018427387904
      ) AS `dimension_until`,
      `t1`.`artist_id` AS `track_artist_id`,
      `t1`.`genre` AS `track_genre`,
      `t1`.`tempo` AS `track_tempo`,
      `t1`.`valence` AS `track_valence`,
      `t1`.`energy` AS `track_energy`,
      `t1`.`duration_ms` AS `track_duration_ms`
    FROM `dimension_track` AS `t1`
  ) AS `t4`
    ON `t2`.`track_id` = `t4`.`dimension_key`
    AND `t2`.`event_time_ms` >= `t4`.`dimension_since`
    AND `t2`.`event_time_ms` < `t4`.`dimension_until`
), `t7` AS (
  SELECT
    *
  FROM `t5` AS `t6`
  WHERE
    NOT `t6`.`user_id` IS NULL AND `t6`.`event_type` = 'PLAY'
), `t8` AS (
  SELECT
    *
  FROM `t5` AS `t6`
  WHERE
    NOT `t6`.`user_id` IS NULL
    AND `t6`.`event_type` = 'PLAY'
    AND NOT `t6`.`track_id` IS NULL
), `t14` AS (
  SELECT
    `t9`.`user_id`,
    `t9`.`event_time_ms`,
    SUM(`t9`.`event_time_ms`) OVER (
      PARTITION BY `t9`.`user_id`, `t9`.`distinct_value`
      ORDER BY `t9`.`event_time_ms` ASC NULLS LAST, `t9`.`kafka_partition` ASC NULLS LAST, `t9`.`kafka_offset` ASC NULLS LAST
      ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    ) - `t9`.`event_time_ms` AS `previous_ms`
  FROM (
    SELECT
      `t6`.`event_id`,
      `t6`.`user_id`,
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
      `t6`.`track_artist_id`,
      `t6`.`track_genre`,
      `t6`.`track_tempo`,
      `t6`.`track_valence`,
      `t6`.`track_energy`,
      `t6`.`track_duration_ms`,
      `t6`.`artist_id` AS `distinct_value`
    FROM `t5` AS `t6`
    WHERE
      NOT `t6`.`user_id` IS NULL
      AND `t6`.`event_type` = 'PLAY'
      AND NOT `t6`.`artist_id` IS NULL
  ) AS `t9`
)
SELECT
  `t49`.`user_id`,
  (
    `t49`.`tick_ms` - (
      `t49`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t49`.`plays_1m`,
  `t49`.`plays_1h`,
  `t49`.`plays_1d`,
  `t49`.`skips_1h`,
  `t49`.`early_skips_1h`,
  `t49`.`pauses_1h`,
  `t49`.`completes_1h`,
  `t49`.`listen_ms_1h`,
  `t49`.`ends_1h`,
  `t49`.`kept_30s_1h`,
  `t49`.`artists_1h`,
  IF(
    `t49`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t49`.`skips_1h` AS DOUBLE) / CAST(`t49`.`plays_1h` AS DOUBLE)
  ) AS `skip_rate_1h`,
  IF(
    `t49`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t49`.`early_skips_1h` AS DOUBLE) / CAST(`t49`.`plays_1h` AS DOUBLE)
  ) AS `early_skip_rate_1h`,
  IF(
    `t49`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t49`.`completes_1h` AS DOUBLE) / CAST(`t49`.`plays_1h` AS DOUBLE)
  ) AS `completion_rate_1h`,
  IF(
    `t49`.`ends_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t49`.`kept_30s_1h` AS DOUBLE) / CAST(`t49`.`ends_1h` AS DOUBLE)
  ) AS `retention_30s_1h`,
  SPLIT(
    SUBSTRING(
      `t49`.`last_5_tracks`,
      IF((
        39 + 1
      ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`last_5_tracks`))
    ),
    '\037'
  ) AS `last_5_tracks`,
  SPLIT(
    SUBSTRING(
      `t49`.`last_20_tracks`,
      IF((
        39 + 1
      ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`last_20_tracks`))
    ),
    '\037'
  ) AS `last_20_tracks`,
  IF(
    COALESCE(
      CAST(SUBSTRING(
        `t49`.`valence_last_20__count`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`valence_last_20__count`))
      ) AS BIGINT),
      0
    ) = 0,
    CAST(NULL AS DOUBLE),
    CAST(COALESCE(
      CAST(SUBSTRING(
        `t49`.`valence_last_20__sum`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`valence_last_20__sum`))
      ) AS BIGINT),
      0
    ) AS DOUBLE) / CAST(COALESCE(
      CAST(SUBSTRING(
        `t49`.`valence_last_20__count`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`valence_last_20__count`))
      ) AS BIGINT),
      0
    ) AS DOUBLE)
  ) AS `valence_last_20`,
  IF(
    COALESCE(
      CAST(SUBSTRING(
        `t49`.`energy_last_20__count`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`energy_last_20__count`))
      ) AS BIGINT),
      0
    ) = 0,
    CAST(NULL AS DOUBLE),
    CAST(COALESCE(
      CAST(SUBSTRING(
        `t49`.`energy_last_20__sum`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`energy_last_20__sum`))
      ) AS BIGINT),
      0
    ) AS DOUBLE) / CAST(COALESCE(
      CAST(SUBSTRING(
        `t49`.`energy_last_20__count`,
        IF((
          39 + 1
        ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t49`.`energy_last_20__count`))
      ) AS BIGINT),
      0
    ) AS DOUBLE)
  ) AS `energy_last_20`
FROM (
  SELECT
    `t48`.`user_id`,
    `t48`.`tick_ms`,
    SUM(`t48`.`plays_1m`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t48`.`plays_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t48`.`plays_1d`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`,
    SUM(`t48`.`skips_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips_1h`,
    SUM(`t48`.`early_skips_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `early_skips_1h`,
    SUM(`t48`.`pauses_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `pauses_1h`,
    SUM(`t48`.`completes_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `completes_1h`,
    SUM(`t48`.`listen_ms_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms_1h`,
    SUM(`t48`.`ends_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `ends_1h`,
    SUM(`t48`.`kept_30s_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `kept_30s_1h`,
    SUM(`t48`.`artists_1h`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `artists_1h`,
    MAX(`t48`.`last_5_tracks`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_5_tracks`,
    MAX(`t48`.`last_20_tracks`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_20_tracks`,
    MAX(`t48`.`valence_last_20__sum`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `valence_last_20__sum`,
    MAX(`t48`.`valence_last_20__count`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `valence_last_20__count`,
    MAX(`t48`.`energy_last_20__sum`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `energy_last_20__sum`,
    MAX(`t48`.`energy_last_20__count`) OVER (
      PARTITION BY `t48`.`user_id`
      ORDER BY `t48`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `energy_last_20__count`
  FROM (
    SELECT
      `t47`.`user_id`,
      `t47`.`tick_ms`,
      `t47`.`plays_1m`,
      `t47`.`plays_1h`,
      `t47`.`plays_1d`,
      `t47`.`skips_1h`,
      `t47`.`early_skips_1h`,
      `t47`.`pauses_1h`,
      `t47`.`completes_1h`,
      `t47`.`listen_ms_1h`,
      `t47`.`ends_1h`,
      `t47`.`kept_30s_1h`,
      `t47`.`artists_1h`,
      `t47`.`last_5_tracks`,
      `t47`.`last_20_tracks`,
      `t47`.`valence_last_20__sum`,
      `t47`.`valence_last_20__count`,
      `t47`.`energy_last_20__sum`,
      `t47`.`energy_last_20__count`,
      (
        `t47`.`tick_ms` - (
          `t47`.`tick_ms` % 1000
        )
      ) + 1000 AS `second`
    FROM (
      SELECT
        `t46`.`user_id`,
        `t46`.`tick_ms`,
        `t46`.`plays_1m`,
        `t46`.`plays_1h`,
        `t46`.`plays_1d`,
        `t46`.`skips_1h`,
        `t46`.`early_skips_1h`,
        `t46`.`pauses_1h`,
        `t46`.`completes_1h`,
        `t46`.`listen_ms_1h`,
        `t46`.`ends_1h`,
        `t46`.`kept_30s_1h`,
        `t46`.`artists_1h`,
        `t46`.`last_5_tracks`,
        `t46`.`last_20_tracks`,
        `t46`.`valence_last_20__sum`,
        `t46`.`valence_last_20__count`,
        `t46`.`energy_last_20__sum`,
        `t46`.`energy_last_20__count`
      FROM (
        SELECT
          `t45`.`user_id`,
          `t45`.`second`,
          MAX(`t45`.`tick_ms`) AS `tick_ms`,
          SUM(`t45`.`plays_1m`) AS `plays_1m`,
          SUM(`t45`.`plays_1h`) AS `plays_1h`,
          SUM(`t45`.`plays_1d`) AS `plays_1d`,
          SUM(`t45`.`skips_1h`) AS `skips_1h`,
          SUM(`t45`.`early_skips_1h`) AS `early_skips_1h`,
          SUM(`t45`.`pauses_1h`) AS `pauses_1h`,
          SUM(`t45`.`completes_1h`) AS `completes_1h`,
          SUM(`t45`.`listen_ms_1h`) AS `listen_ms_1h`,
          SUM(`t45`.`ends_1h`) AS `ends_1h`,
          SUM(`t45`.`kept_30s_1h`) AS `kept_30s_1h`,
          SUM(`t45`.`artists_1h`) AS `artists_1h`,
          MAX(`t45`.`last_5_tracks`) AS `last_5_tracks`,
          MAX(`t45`.`last_20_tracks`) AS `last_20_tracks`,
          MAX(`t45`.`valence_last_20__sum`) AS `valence_last_20__sum`,
          MAX(`t45`.`valence_last_20__count`) AS `valence_last_20__count`,
          MAX(`t45`.`energy_last_20__sum`) AS `energy_last_20__sum`,
          MAX(`t45`.`energy_last_20__count`) AS `energy_last_20__count`
        FROM (
          SELECT
            `t44`.`user_id`,
            `t44`.`tick_ms`,
            `t44`.`plays_1m`,
            `t44`.`plays_1h`,
            `t44`.`plays_1d`,
            `t44`.`skips_1h`,
            `t44`.`early_skips_1h`,
            `t44`.`pauses_1h`,
            `t44`.`completes_1h`,
            `t44`.`listen_ms_1h`,
            `t44`.`ends_1h`,
            `t44`.`kept_30s_1h`,
            `t44`.`artists_1h`,
            `t44`.`last_5_tracks`,
            `t44`.`last_20_tracks`,
            `t44`.`valence_last_20__sum`,
            `t44`.`valence_last_20__count`,
            `t44`.`energy_last_20__sum`,
            `t44`.`energy_last_20__count`,
            (
              `t44`.`tick_ms` - (
                `t44`.`tick_ms` % 1000
              )
            ) + 1000 AS `second`
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
                                    *
                                  FROM (
                                    SELECT
                                      `t6`.`user_id`,
                                      `t6`.`event_time_ms` AS `tick_ms`,
                                      IF(`t6`.`event_type` = 'PLAY', 1, 0) AS `plays_1m`,
                                      IF(`t6`.`event_type` = 'PLAY', 1, 0) AS `plays_1h`,
                                      IF(`t6`.`event_type` = 'PLAY', 1, 0) AS `plays_1d`,
                                      IF(`t6`.`event_type` = 'SKIP', 1, 0) AS `skips_1h`,
                                      IF((
                                        `t6`.`event_type` = 'SKIP'
                                      ) AND (
                                        `t6`.`ms_played` < 5000
                                      ), 1, 0) AS `early_skips_1h`,
                                      IF(`t6`.`event_type` = 'PAUSE', 1, 0) AS `pauses_1h`,
                                      IF(`t6`.`event_type` = 'COMPLETE', 1, 0) AS `completes_1h`,
                                      IF(`t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t6`.`ms_played`, 0), 0) AS `listen_ms_1h`,
                                      IF(`t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), 1, 0) AS `ends_1h`,
                                      IF(
                                        `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                        AND (
                                          `t6`.`ms_played` >= 30000
                                        ),
                                        1,
                                        0
                                      ) AS `kept_30s_1h`,
                                      0 AS `artists_1h`,
                                      CAST(NULL AS STRING) AS `last_5_tracks`,
                                      CAST(NULL AS STRING) AS `last_20_tracks`,
                                      CAST(NULL AS STRING) AS `valence_last_20__sum`,
                                      CAST(NULL AS STRING) AS `valence_last_20__count`,
                                      CAST(NULL AS STRING) AS `energy_last_20__sum`,
                                      CAST(NULL AS STRING) AS `energy_last_20__count`
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
                                        OR (
                                          (
                                            `t6`.`event_type` = 'SKIP'
                                          ) AND (
                                            `t6`.`ms_played` < 5000
                                          )
                                        )
                                        OR (
                                          `t6`.`event_type` = 'PAUSE'
                                        )
                                        OR (
                                          `t6`.`event_type` = 'COMPLETE'
                                        )
                                        OR `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                        OR (
                                          `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                          AND (
                                            `t6`.`ms_played` >= 30000
                                          )
                                        )
                                      )
                                  ) AS `t19`
                                  UNION ALL
                                  SELECT
                                    *
                                  FROM (
                                    SELECT
                                      `t6`.`user_id`,
                                      `t6`.`event_time_ms` + 60000 AS `tick_ms`,
                                      -(
                                        IF(`t6`.`event_type` = 'PLAY', 1, 0)
                                      ) AS `plays_1m`,
                                      0 AS `plays_1h`,
                                      0 AS `plays_1d`,
                                      0 AS `skips_1h`,
                                      0 AS `early_skips_1h`,
                                      0 AS `pauses_1h`,
                                      0 AS `completes_1h`,
                                      0 AS `listen_ms_1h`,
                                      0 AS `ends_1h`,
                                      0 AS `kept_30s_1h`,
                                      0 AS `artists_1h`,
                                      CAST(NULL AS STRING) AS `last_5_tracks`,
                                      CAST(NULL AS STRING) AS `last_20_tracks`,
                                      CAST(NULL AS STRING) AS `valence_last_20__sum`,
                                      CAST(NULL AS STRING) AS `valence_last_20__count`,
                                      CAST(NULL AS STRING) AS `energy_last_20__sum`,
                                      CAST(NULL AS STRING) AS `energy_last_20__count`
                                    FROM `t5` AS `t6`
                                    WHERE
                                      NOT `t6`.`user_id` IS NULL AND `t6`.`event_type` = 'PLAY'
                                  ) AS `t13`
                                ) AS `t20`
                                UNION ALL
                                SELECT
                                  *
                                FROM (
                                  SELECT
                                    `t6`.`user_id`,
                                    `t6`.`event_time_ms` + 3600000 AS `tick_ms`,
                                    0 AS `plays_1m`,
                                    -(
                                      IF(`t6`.`event_type` = 'PLAY', 1, 0)
                                    ) AS `plays_1h`,
                                    0 AS `plays_1d`,
                                    -(
                                      IF(`t6`.`event_type` = 'SKIP', 1, 0)
                                    ) AS `skips_1h`,
                                    -(
                                      IF((
                                        `t6`.`event_type` = 'SKIP'
                                      ) AND (
                                        `t6`.`ms_played` < 5000
                                      ), 1, 0)
                                    ) AS `early_skips_1h`,
                                    -(
                                      IF(`t6`.`event_type` = 'PAUSE', 1, 0)
                                    ) AS `pauses_1h`,
                                    -(
                                      IF(`t6`.`event_type` = 'COMPLETE', 1, 0)
                                    ) AS `completes_1h`,
                                    -(
                                      IF(`t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t6`.`ms_played`, 0), 0)
                                    ) AS `listen_ms_1h`,
                                    -(
                                      IF(`t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), 1, 0)
                                    ) AS `ends_1h`,
                                    -(
                                      IF(
                                        `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                        AND (
                                          `t6`.`ms_played` >= 30000
                                        ),
                                        1,
                                        0
                                      )
                                    ) AS `kept_30s_1h`,
                                    0 AS `artists_1h`,
                                    CAST(NULL AS STRING) AS `last_5_tracks`,
                                    CAST(NULL AS STRING) AS `last_20_tracks`,
                                    CAST(NULL AS STRING) AS `valence_last_20__sum`,
                                    CAST(NULL AS STRING) AS `valence_last_20__count`,
                                    CAST(NULL AS STRING) AS `energy_last_20__sum`,
                                    CAST(NULL AS STRING) AS `energy_last_20__count`
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
                                      OR (
                                        (
                                          `t6`.`event_type` = 'SKIP'
                                        ) AND (
                                          `t6`.`ms_played` < 5000
                                        )
                                      )
                                      OR (
                                        `t6`.`event_type` = 'PAUSE'
                                      )
                                      OR (
                                        `t6`.`event_type` = 'COMPLETE'
                                      )
                                      OR `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                      OR (
                                        `t6`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                                        AND (
                                          `t6`.`ms_played` >= 30000
                                        )
                                      )
                                    )
                                ) AS `t18`
                              ) AS `t25`
                              UNION ALL
                              SELECT
                                *
                              FROM (
                                SELECT
                                  `t6`.`user_id`,
                                  `t6`.`event_time_ms` + 86400000 AS `tick_ms`,
                                  0 AS `plays_1m`,
                                  0 AS `plays_1h`,
                                  -(
                                    IF(`t6`.`event_type` = 'PLAY', 1, 0)
                                  ) AS `plays_1d`,
                                  0 AS `skips_1h`,
                                  0 AS `early_skips_1h`,
                                  0 AS `pauses_1h`,
                                  0 AS `completes_1h`,
                                  0 AS `listen_ms_1h`,
                                  0 AS `ends_1h`,
                                  0 AS `kept_30s_1h`,
                                  0 AS `artists_1h`,
                                  CAST(NULL AS STRING) AS `last_5_tracks`,
                                  CAST(NULL AS STRING) AS `last_20_tracks`,
                                  CAST(NULL AS STRING) AS `valence_last_20__sum`,
                                  CAST(NULL AS STRING) AS `valence_last_20__count`,
                                  CAST(NULL AS STRING) AS `energy_last_20__sum`,
                                  CAST(NULL AS STRING) AS `energy_last_20__count`
                                FROM `t5` AS `t6`
                                WHERE
                                  NOT `t6`.`user_id` IS NULL AND `t6`.`event_type` = 'PLAY'
                              ) AS `t12`
                            ) AS `t27`
                            UNION ALL
                            SELECT
                              *
                            FROM (
                              SELECT
                                `t17`.`user_id`,
                                `t17`.`event_time_ms` AS `tick_ms`,
                                0 AS `plays_1m`,
                                0 AS `plays_1h`,
                                0 AS `plays_1d`,
                                0 AS `skips_1h`,
                                0 AS `early_skips_1h`,
                                0 AS `pauses_1h`,
                                0 AS `completes_1h`,
                                0 AS `listen_ms_1h`,
                                0 AS `ends_1h`,
                                0 AS `kept_30s_1h`,
                                IF((
                                  `t17`.`event_time_ms` - `t17`.`previous_ms`
                                ) >= 3600000, 1, 0) AS `artists_1h`,
                                CAST(NULL AS STRING) AS `last_5_tracks`,
                                CAST(NULL AS STRING) AS `last_20_tracks`,
                                CAST(NULL AS STRING) AS `valence_last_20__sum`,
                                CAST(NULL AS STRING) AS `valence_last_20__count`,
                                CAST(NULL AS STRING) AS `energy_last_20__sum`,
                                CAST(NULL AS STRING) AS `energy_last_20__count`
                              FROM `t14` AS `t17`
                            ) AS `t29`
                          ) AS `t32`
                          UNION ALL
                          SELECT
                            *
                          FROM (
                            SELECT
                              `t17`.`user_id`,
                              `t17`.`event_time_ms` + 3600000 AS `tick_ms`,
                              0 AS `plays_1m`,
                              0 AS `plays_1h`,
                              0 AS `plays_1d`,
                              0 AS `skips_1h`,
                              0 AS `early_skips_1h`,
                              0 AS `pauses_1h`,
                              0 AS `completes_1h`,
                              0 AS `listen_ms_1h`,
                              0 AS `ends_1h`,
                              0 AS `kept_30s_1h`,
                              -(
                                1
                              ) AS `artists_1h`,
                              CAST(NULL AS STRING) AS `last_5_tracks`,
                              CAST(NULL AS STRING) AS `last_20_tracks`,
                              CAST(NULL AS STRING) AS `valence_last_20__sum`,
                              CAST(NULL AS STRING) AS `valence_last_20__count`,
                              CAST(NULL AS STRING) AS `energy_last_20__sum`,
                              CAST(NULL AS STRING) AS `energy_last_20__count`
                            FROM `t14` AS `t17`
                          ) AS `t26`
                        ) AS `t33`
                        UNION ALL
                        SELECT
                          *
                        FROM (
                          SELECT
                            `t17`.`user_id`,
                            `t17`.`previous_ms` + 3600000 AS `tick_ms`,
                            0 AS `plays_1m`,
                            0 AS `plays_1h`,
                            0 AS `plays_1d`,
                            0 AS `skips_1h`,
                            0 AS `early_skips_1h`,
                            0 AS `pauses_1h`,
                            0 AS `completes_1h`,
                            0 AS `listen_ms_1h`,
                            0 AS `ends_1h`,
                            0 AS `kept_30s_1h`,
                            1 AS `artists_1h`,
                            CAST(NULL AS STRING) AS `last_5_tracks`,
                            CAST(NULL AS STRING) AS `last_20_tracks`,
                            CAST(NULL AS STRING) AS `valence_last_20__sum`,
                            CAST(NULL AS STRING) AS `valence_last_20__count`,
                            CAST(NULL AS STRING) AS `energy_last_20__sum`,
                            CAST(NULL AS STRING) AS `energy_last_20__count`
                          FROM `t14` AS `t17`
                          WHERE
                            (
                              `t17`.`event_time_ms` - `t17`.`previous_ms`
                            ) < 3600000
                        ) AS `t28`
                      ) AS `t38`
                      UNION ALL
                      SELECT
                        *
                      FROM (
                        SELECT
                          `t16`.`user_id`,
                          `t16`.`event_time_ms` AS `tick_ms`,
                          0 AS `plays_1m`,
                          0 AS `plays_1h`,
                          0 AS `plays_1d`,
                          0 AS `skips_1h`,
                          0 AS `early_skips_1h`,
                          0 AS `pauses_1h`,
                          0 AS `completes_1h`,
                          0 AS `listen_ms_1h`,
                          0 AS `ends_1h`,
                          0 AS `kept_30s_1h`,
                          0 AS `artists_1h`,
                          CONCAT_WS(
                            '',
                            CAST(`t16`.`event_time_ms` + 1000000000000000 AS STRING),
                            CAST(CAST(`t16`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                            CAST(`t16`.`kafka_offset` + 1000000000000000 AS STRING),
                            `t16`.`held`
                          ) AS `last_5_tracks`,
                          CAST(NULL AS STRING) AS `last_20_tracks`,
                          CAST(NULL AS STRING) AS `valence_last_20__sum`,
                          CAST(NULL AS STRING) AS `valence_last_20__count`,
                          CAST(NULL AS STRING) AS `energy_last_20__sum`,
                          CAST(NULL AS STRING) AS `energy_last_20__count`
                        FROM (
                          SELECT
                            `t11`.`event_id`,
                            `t11`.`user_id`,
                            `t11`.`track_id`,
                            `t11`.`artist_id`,
                            `t11`.`event_type`,
                            `t11`.`event_time_ms`,
                            `t11`.`position_ms`,
                            `t11`.`ms_played`,
                            `t11`.`duration_ms`,
                            `t11`.`content_type`,
                            `t11`.`context`,
                            `t11`.`request_id`,
                            `t11`.`device`,
                            `t11`.`country`,
                            `t11`.`client_version`,
                            `t11`.`kafka_partition`,
                            `t11`.`kafka_offset`,
                            `t11`.`late`,
                            `t11`.`track_artist_id`,
                            `t11`.`track_genre`,
                            `t11`.`track_tempo`,
                            `t11`.`track_valence`,
                            `t11`.`track_energy`,
                            `t11`.`track_duration_ms`,
                            IF(
                              SIZE(
                                COLLECT_LIST(`t11`.`track_id`) OVER (
                                  PARTITION BY `t11`.`user_id`
                                  ORDER BY `t11`.`event_time_ms` DESC, `t11`.`kafka_partition` DESC, `t11`.`kafka_offset` DESC
                                  ROWS BETWEEN CURRENT ROW AND 4 FOLLOWING
                                )
                              ) > 0,
                              CONCAT_WS(
                                '\037',
                                COLLECT_LIST(`t11`.`track_id`) OVER (
                                  PARTITION BY `t11`.`user_id`
                                  ORDER BY `t11`.`event_time_ms` DESC, `t11`.`kafka_partition` DESC, `t11`.`kafka_offset` DESC
                                  ROWS BETWEEN CURRENT ROW AND 4 FOLLOWING
                                )
                              ),
                              NULL
                            ) AS `held`
                          FROM `t8` AS `t11`
                        ) AS `t16`
                      ) AS `t31`
                    ) AS `t39`
                    UNION ALL
                    SELECT
                      *
                    FROM (
                      SELECT
                        `t15`.`user_id`,
                        `t15`.`event_time_ms` AS `tick_ms`,
                        0 AS `plays_1m`,
                        0 AS `plays_1h`,
                        0 AS `plays_1d`,
                        0 AS `skips_1h`,
                        0 AS `early_skips_1h`,
                        0 AS `pauses_1h`,
                        0 AS `completes_1h`,
                        0 AS `listen_ms_1h`,
                        0 AS `ends_1h`,
                        0 AS `kept_30s_1h`,
                        0 AS `artists_1h`,
                        CAST(NULL AS STRING) AS `last_5_tracks`,
                        CONCAT_WS(
                          '',
                          CAST(`t15`.`event_time_ms` + 1000000000000000 AS STRING),
                          CAST(CAST(`t15`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                          CAST(`t15`.`kafka_offset` + 1000000000000000 AS STRING),
                          `t15`.`held`
                        ) AS `last_20_tracks`,
                        CAST(NULL AS STRING) AS `valence_last_20__sum`,
                        CAST(NULL AS STRING) AS `valence_last_20__count`,
                        CAST(NULL AS STRING) AS `energy_last_20__sum`,
                        CAST(NULL AS STRING) AS `energy_last_20__count`
                      FROM (
                        SELECT
                          `t11`.`event_id`,
                          `t11`.`user_id`,
                          `t11`.`track_id`,
                          `t11`.`artist_id`,
                          `t11`.`event_type`,
                          `t11`.`event_time_ms`,
                          `t11`.`position_ms`,
                          `t11`.`ms_played`,
                          `t11`.`duration_ms`,
                          `t11`.`content_type`,
                          `t11`.`context`,
                          `t11`.`request_id`,
                          `t11`.`device`,
                          `t11`.`country`,
                          `t11`.`client_version`,
                          `t11`.`kafka_partition`,
                          `t11`.`kafka_offset`,
                          `t11`.`late`,
                          `t11`.`track_artist_id`,
                          `t11`.`track_genre`,
                          `t11`.`track_tempo`,
                          `t11`.`track_valence`,
                          `t11`.`track_energy`,
                          `t11`.`track_duration_ms`,
                          IF(
                            SIZE(
                              COLLECT_LIST(`t11`.`track_id`) OVER (
                                PARTITION BY `t11`.`user_id`
                                ORDER BY `t11`.`event_time_ms` DESC, `t11`.`kafka_partition` DESC, `t11`.`kafka_offset` DESC
                                ROWS BETWEEN CURRENT ROW AND 19 FOLLOWING
                              )
                            ) > 0,
                            CONCAT_WS(
                              '\037',
                              COLLECT_LIST(`t11`.`track_id`) OVER (
                                PARTITION BY `t11`.`user_id`
                                ORDER BY `t11`.`event_time_ms` DESC, `t11`.`kafka_partition` DESC, `t11`.`kafka_offset` DESC
                                ROWS BETWEEN CURRENT ROW AND 19 FOLLOWING
                              )
                            ),
                            NULL
                          ) AS `held`
                        FROM `t8` AS `t11`
                      ) AS `t15`
                    ) AS `t30`
                  ) AS `t40`
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      `t22`.`user_id`,
                      `t22`.`event_time_ms` AS `tick_ms`,
                      0 AS `plays_1m`,
                      0 AS `plays_1h`,
                      0 AS `plays_1d`,
                      0 AS `skips_1h`,
                      0 AS `early_skips_1h`,
                      0 AS `pauses_1h`,
                      0 AS `completes_1h`,
                      0 AS `listen_ms_1h`,
                      0 AS `ends_1h`,
                      0 AS `kept_30s_1h`,
                      0 AS `artists_1h`,
                      CAST(NULL AS STRING) AS `last_5_tracks`,
                      CAST(NULL AS STRING) AS `last_20_tracks`,
                      CONCAT_WS(
                        '',
                        CAST(`t22`.`event_time_ms` + 1000000000000000 AS STRING),
                        CAST(CAST(`t22`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                        CAST(`t22`.`kafka_offset` + 1000000000000000 AS STRING),
                        `t22`.`held`
                      ) AS `valence_last_20__sum`,
                      CAST(NULL AS STRING) AS `valence_last_20__count`,
                      CAST(NULL AS STRING) AS `energy_last_20__sum`,
                      CAST(NULL AS STRING) AS `energy_last_20__count`
                    FROM (
                      SELECT
                        `t10`.`event_id`,
                        `t10`.`user_id`,
                        `t10`.`track_id`,
                        `t10`.`artist_id`,
                        `t10`.`event_type`,
                        `t10`.`event_time_ms`,
                        `t10`.`position_ms`,
                        `t10`.`ms_played`,
                        `t10`.`duration_ms`,
                        `t10`.`content_type`,
                        `t10`.`context`,
                        `t10`.`request_id`,
                        `t10`.`device`,
                        `t10`.`country`,
                        `t10`.`client_version`,
                        `t10`.`kafka_partition`,
                        `t10`.`kafka_offset`,
                        `t10`.`late`,
                        `t10`.`track_artist_id`,
                        `t10`.`track_genre`,
                        `t10`.`track_tempo`,
                        `t10`.`track_valence`,
                        `t10`.`track_energy`,
                        `t10`.`track_duration_ms`,
                        CAST(SUM(IF(NOT `t10`.`track_valence` IS NULL, `t10`.`track_valence`, 0)) OVER (
                          PARTITION BY `t10`.`user_id`
                          ORDER BY `t10`.`event_time_ms` ASC NULLS LAST, `t10`.`kafka_partition` ASC NULLS LAST, `t10`.`kafka_offset` ASC NULLS LAST
                          ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
                        ) AS STRING) AS `held`
                      FROM `t7` AS `t10`
                    ) AS `t22`
                  ) AS `t35`
                ) AS `t41`
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    `t21`.`user_id`,
                    `t21`.`event_time_ms` AS `tick_ms`,
                    0 AS `plays_1m`,
                    0 AS `plays_1h`,
                    0 AS `plays_1d`,
                    0 AS `skips_1h`,
                    0 AS `early_skips_1h`,
                    0 AS `pauses_1h`,
                    0 AS `completes_1h`,
                    0 AS `listen_ms_1h`,
                    0 AS `ends_1h`,
                    0 AS `kept_30s_1h`,
                    0 AS `artists_1h`,
                    CAST(NULL AS STRING) AS `last_5_tracks`,
                    CAST(NULL AS STRING) AS `last_20_tracks`,
                    CAST(NULL AS STRING) AS `valence_last_20__sum`,
                    CONCAT_WS(
                      '',
                      CAST(`t21`.`event_time_ms` + 1000000000000000 AS STRING),
                      CAST(CAST(`t21`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                      CAST(`t21`.`kafka_offset` + 1000000000000000 AS STRING),
                      `t21`.`held`
                    ) AS `valence_last_20__count`,
                    CAST(NULL AS STRING) AS `energy_last_20__sum`,
                    CAST(NULL AS STRING) AS `energy_last_20__count`
                  FROM (
                    SELECT
                      `t10`.`event_id`,
                      `t10`.`user_id`,
                      `t10`.`track_id`,
                      `t10`.`artist_id`,
                      `t10`.`event_type`,
                      `t10`.`event_time_ms`,
                      `t10`.`position_ms`,
                      `t10`.`ms_played`,
                      `t10`.`duration_ms`,
                      `t10`.`content_type`,
                      `t10`.`context`,
                      `t10`.`request_id`,
                      `t10`.`device`,
                      `t10`.`country`,
                      `t10`.`client_version`,
                      `t10`.`kafka_partition`,
                      `t10`.`kafka_offset`,
                      `t10`.`late`,
                      `t10`.`track_artist_id`,
                      `t10`.`track_genre`,
                      `t10`.`track_tempo`,
                      `t10`.`track_valence`,
                      `t10`.`track_energy`,
                      `t10`.`track_duration_ms`,
                      CAST(SUM(IF(NOT `t10`.`track_valence` IS NULL, 1, 0)) OVER (
                        PARTITION BY `t10`.`user_id`
                        ORDER BY `t10`.`event_time_ms` ASC NULLS LAST, `t10`.`kafka_partition` ASC NULLS LAST, `t10`.`kafka_offset` ASC NULLS LAST
                        ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
                      ) AS STRING) AS `held`
                    FROM `t7` AS `t10`
                  ) AS `t21`
                ) AS `t34`
              ) AS `t42`
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  `t24`.`user_id`,
                  `t24`.`event_time_ms` AS `tick_ms`,
                  0 AS `plays_1m`,
                  0 AS `plays_1h`,
                  0 AS `plays_1d`,
                  0 AS `skips_1h`,
                  0 AS `early_skips_1h`,
                  0 AS `pauses_1h`,
                  0 AS `completes_1h`,
                  0 AS `listen_ms_1h`,
                  0 AS `ends_1h`,
                  0 AS `kept_30s_1h`,
                  0 AS `artists_1h`,
                  CAST(NULL AS STRING) AS `last_5_tracks`,
                  CAST(NULL AS STRING) AS `last_20_tracks`,
                  CAST(NULL AS STRING) AS `valence_last_20__sum`,
                  CAST(NULL AS STRING) AS `valence_last_20__count`,
                  CONCAT_WS(
                    '',
                    CAST(`t24`.`event_time_ms` + 1000000000000000 AS STRING),
                    CAST(CAST(`t24`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                    CAST(`t24`.`kafka_offset` + 1000000000000000 AS STRING),
                    `t24`.`held`
                  ) AS `energy_last_20__sum`,
                  CAST(NULL AS STRING) AS `energy_last_20__count`
                FROM (
                  SELECT
                    `t10`.`event_id`,
                    `t10`.`user_id`,
                    `t10`.`track_id`,
                    `t10`.`artist_id`,
                    `t10`.`event_type`,
                    `t10`.`event_time_ms`,
                    `t10`.`position_ms`,
                    `t10`.`ms_played`,
                    `t10`.`duration_ms`,
                    `t10`.`content_type`,
                    `t10`.`context`,
                    `t10`.`request_id`,
                    `t10`.`device`,
                    `t10`.`country`,
                    `t10`.`client_version`,
                    `t10`.`kafka_partition`,
                    `t10`.`kafka_offset`,
                    `t10`.`late`,
                    `t10`.`track_artist_id`,
                    `t10`.`track_genre`,
                    `t10`.`track_tempo`,
                    `t10`.`track_valence`,
                    `t10`.`track_energy`,
                    `t10`.`track_duration_ms`,
                    CAST(SUM(IF(NOT `t10`.`track_energy` IS NULL, `t10`.`track_energy`, 0)) OVER (
                      PARTITION BY `t10`.`user_id`
                      ORDER BY `t10`.`event_time_ms` ASC NULLS LAST, `t10`.`kafka_partition` ASC NULLS LAST, `t10`.`kafka_offset` ASC NULLS LAST
                      ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
                    ) AS STRING) AS `held`
                  FROM `t7` AS `t10`
                ) AS `t24`
              ) AS `t37`
            ) AS `t43`
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                `t23`.`user_id`,
                `t23`.`event_time_ms` AS `tick_ms`,
                0 AS `plays_1m`,
                0 AS `plays_1h`,
                0 AS `plays_1d`,
                0 AS `skips_1h`,
                0 AS `early_skips_1h`,
                0 AS `pauses_1h`,
                0 AS `completes_1h`,
                0 AS `listen_ms_1h`,
                0 AS `ends_1h`,
                0 AS `kept_30s_1h`,
                0 AS `artists_1h`,
                CAST(NULL AS STRING) AS `last_5_tracks`,
                CAST(NULL AS STRING) AS `last_20_tracks`,
                CAST(NULL AS STRING) AS `valence_last_20__sum`,
                CAST(NULL AS STRING) AS `valence_last_20__count`,
                CAST(NULL AS STRING) AS `energy_last_20__sum`,
                CONCAT_WS(
                  '',
                  CAST(`t23`.`event_time_ms` + 1000000000000000 AS STRING),
                  CAST(CAST(`t23`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                  CAST(`t23`.`kafka_offset` + 1000000000000000 AS STRING),
                  `t23`.`held`
                ) AS `energy_last_20__count`
              FROM (
                SELECT
                  `t10`.`event_id`,
                  `t10`.`user_id`,
                  `t10`.`track_id`,
                  `t10`.`artist_id`,
                  `t10`.`event_type`,
                  `t10`.`event_time_ms`,
                  `t10`.`position_ms`,
                  `t10`.`ms_played`,
                  `t10`.`duration_ms`,
                  `t10`.`content_type`,
                  `t10`.`context`,
                  `t10`.`request_id`,
                  `t10`.`device`,
                  `t10`.`country`,
                  `t10`.`client_version`,
                  `t10`.`kafka_partition`,
                  `t10`.`kafka_offset`,
                  `t10`.`late`,
                  `t10`.`track_artist_id`,
                  `t10`.`track_genre`,
                  `t10`.`track_tempo`,
                  `t10`.`track_valence`,
                  `t10`.`track_energy`,
                  `t10`.`track_duration_ms`,
                  CAST(SUM(IF(NOT `t10`.`track_energy` IS NULL, 1, 0)) OVER (
                    PARTITION BY `t10`.`user_id`
                    ORDER BY `t10`.`event_time_ms` ASC NULLS LAST, `t10`.`kafka_partition` ASC NULLS LAST, `t10`.`kafka_offset` ASC NULLS LAST
                    ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
                  ) AS STRING) AS `held`
                FROM `t7` AS `t10`
              ) AS `t23`
            ) AS `t36`
          ) AS `t44`
        ) AS `t45`
        GROUP BY
          1,
          2
      ) AS `t46`
    ) AS `t47`
  ) AS `t48`
) AS `t49`
