WITH `t6` AS (
  SELECT
    `t2`.`user_id`,
    `t2`.`event_time_ms`,
    SUM(`t2`.`event_time_ms`) OVER (
      PARTITION BY `t2`.`user_id`, `t2`.`distinct_value`
      ORDER BY `t2`.`event_time_ms` ASC NULLS LAST, `t2`.`kafka_partition` ASC NULLS LAST, `t2`.`kafka_offset` ASC NULLS LAST
      ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    ) - `t2`.`event_time_ms` AS `previous_ms`
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
      `t0`.`artist_id` AS `distinct_value`
    FROM `events` AS `t0`
    WHERE
      NOT `t0`.`user_id` IS NULL
      AND `t0`.`event_type` = 'PLAY'
      AND NOT `t0`.`artist_id` IS NULL
  ) AS `t2`
)
SELECT
  `t25`.`user_id`,
  (
    `t25`.`tick_ms` - (
      `t25`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t25`.`plays_1m`,
  `t25`.`plays_1h`,
  `t25`.`plays_1d`,
  `t25`.`skips_1h`,
  `t25`.`early_skips_1h`,
  `t25`.`pauses_1h`,
  `t25`.`completes_1h`,
  `t25`.`listen_ms_1h`,
  `t25`.`ends_1h`,
  `t25`.`kept_30s_1h`,
  `t25`.`artists_1h`,
  IF(
    `t25`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t25`.`skips_1h` AS DOUBLE) / CAST(`t25`.`plays_1h` AS DOUBLE)
  ) AS `skip_rate_1h`,
  IF(
    `t25`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t25`.`early_skips_1h` AS DOUBLE) / CAST(`t25`.`plays_1h` AS DOUBLE)
  ) AS `early_skip_rate_1h`,
  IF(
    `t25`.`plays_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t25`.`completes_1h` AS DOUBLE) / CAST(`t25`.`plays_1h` AS DOUBLE)
  ) AS `completion_rate_1h`,
  IF(
    `t25`.`ends_1h` = 0,
    CAST(NULL AS DOUBLE),
    CAST(`t25`.`kept_30s_1h` AS DOUBLE) / CAST(`t25`.`ends_1h` AS DOUBLE)
  ) AS `retention_30s_1h`,
  SPLIT(
    SUBSTRING(
      `t25`.`last_5_tracks`,
      IF((
        39 + 1
      ) >= 1, 39 + 1, 39 + 1 + LENGTH(`t25`.`last_5_tracks`))
    ),
    '\037'
  ) AS `last_5_tracks`
FROM (
  SELECT
    `t24`.`user_id`,
    `t24`.`tick_ms`,
    SUM(`t24`.`plays_1m`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t24`.`plays_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t24`.`plays_1d`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`,
    SUM(`t24`.`skips_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips_1h`,
    SUM(`t24`.`early_skips_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `early_skips_1h`,
    SUM(`t24`.`pauses_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `pauses_1h`,
    SUM(`t24`.`completes_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `completes_1h`,
    SUM(`t24`.`listen_ms_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms_1h`,
    SUM(`t24`.`ends_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `ends_1h`,
    SUM(`t24`.`kept_30s_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `kept_30s_1h`,
    SUM(`t24`.`artists_1h`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `artists_1h`,
    MAX(`t24`.`last_5_tracks`) OVER (
      PARTITION BY `t24`.`user_id`
      ORDER BY `t24`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `last_5_tracks`
  FROM (
    SELECT
      `t23`.`user_id`,
      `t23`.`tick_ms`,
      `t23`.`plays_1m`,
      `t23`.`plays_1h`,
      `t23`.`plays_1d`,
      `t23`.`skips_1h`,
      `t23`.`early_skips_1h`,
      `t23`.`pauses_1h`,
      `t23`.`completes_1h`,
      `t23`.`listen_ms_1h`,
      `t23`.`ends_1h`,
      `t23`.`kept_30s_1h`,
      `t23`.`artists_1h`,
      `t23`.`last_5_tracks`,
      (
        `t23`.`tick_ms` - (
          `t23`.`tick_ms` % 1000
        )
      ) + 1000 AS `second`
    FROM (
      SELECT
        `t22`.`user_id`,
        `t22`.`tick_ms`,
        `t22`.`plays_1m`,
        `t22`.`plays_1h`,
        `t22`.`plays_1d`,
        `t22`.`skips_1h`,
        `t22`.`early_skips_1h`,
        `t22`.`pauses_1h`,
        `t22`.`completes_1h`,
        `t22`.`listen_ms_1h`,
        `t22`.`ends_1h`,
        `t22`.`kept_30s_1h`,
        `t22`.`artists_1h`,
        `t22`.`last_5_tracks`
      FROM (
        SELECT
          `t21`.`user_id`,
          `t21`.`second`,
          MAX(`t21`.`tick_ms`) AS `tick_ms`,
          SUM(`t21`.`plays_1m`) AS `plays_1m`,
          SUM(`t21`.`plays_1h`) AS `plays_1h`,
          SUM(`t21`.`plays_1d`) AS `plays_1d`,
          SUM(`t21`.`skips_1h`) AS `skips_1h`,
          SUM(`t21`.`early_skips_1h`) AS `early_skips_1h`,
          SUM(`t21`.`pauses_1h`) AS `pauses_1h`,
          SUM(`t21`.`completes_1h`) AS `completes_1h`,
          SUM(`t21`.`listen_ms_1h`) AS `listen_ms_1h`,
          SUM(`t21`.`ends_1h`) AS `ends_1h`,
          SUM(`t21`.`kept_30s_1h`) AS `kept_30s_1h`,
          SUM(`t21`.`artists_1h`) AS `artists_1h`,
          MAX(`t21`.`last_5_tracks`) AS `last_5_tracks`
        FROM (
          SELECT
            `t20`.`user_id`,
            `t20`.`tick_ms`,
            `t20`.`plays_1m`,
            `t20`.`plays_1h`,
            `t20`.`plays_1d`,
            `t20`.`skips_1h`,
            `t20`.`early_skips_1h`,
            `t20`.`pauses_1h`,
            `t20`.`completes_1h`,
            `t20`.`listen_ms_1h`,
            `t20`.`ends_1h`,
            `t20`.`kept_30s_1h`,
            `t20`.`artists_1h`,
            `t20`.`last_5_tracks`,
            (
              `t20`.`tick_ms` - (
                `t20`.`tick_ms` % 1000
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
                            IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), 1, 0) AS `ends_1h`,
                            IF(
                              `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                              AND (
                                `t0`.`ms_played` >= 30000
                              ),
                              1,
                              0
                            ) AS `kept_30s_1h`,
                            0 AS `artists_1h`,
                            CAST(NULL AS STRING) AS `last_5_tracks`
                          FROM `events` AS `t0`
                          WHERE
                            NOT `t0`.`user_id` IS NULL
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
                        ) AS `t9`
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
                            0 AS `ends_1h`,
                            0 AS `kept_30s_1h`,
                            0 AS `artists_1h`,
                            CAST(NULL AS STRING) AS `last_5_tracks`
                          FROM `events` AS `t0`
                          WHERE
                            NOT `t0`.`user_id` IS NULL AND `t0`.`event_type` = 'PLAY'
                        ) AS `t4`
                      ) AS `t10`
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
                          -(
                            IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), 1, 0)
                          ) AS `ends_1h`,
                          -(
                            IF(
                              `t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP')
                              AND (
                                `t0`.`ms_played` >= 30000
                              ),
                              1,
                              0
                            )
                          ) AS `kept_30s_1h`,
                          0 AS `artists_1h`,
                          CAST(NULL AS STRING) AS `last_5_tracks`
                        FROM `events` AS `t0`
                        WHERE
                          NOT `t0`.`user_id` IS NULL
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
                      ) AS `t8`
                    ) AS `t11`
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
                        0 AS `ends_1h`,
                        0 AS `kept_30s_1h`,
                        0 AS `artists_1h`,
                        CAST(NULL AS STRING) AS `last_5_tracks`
                      FROM `events` AS `t0`
                      WHERE
                        NOT `t0`.`user_id` IS NULL AND `t0`.`event_type` = 'PLAY'
                    ) AS `t3`
                  ) AS `t13`
                  UNION ALL
                  SELECT
                    *
                  FROM (
                    SELECT
                      `t7`.`user_id`,
                      `t7`.`event_time_ms` AS `tick_ms`,
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
                        `t7`.`event_time_ms` - `t7`.`previous_ms`
                      ) >= 3600000, 1, 0) AS `artists_1h`,
                      CAST(NULL AS STRING) AS `last_5_tracks`
                    FROM `t6` AS `t7`
                  ) AS `t16`
                ) AS `t17`
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    `t7`.`user_id`,
                    `t7`.`event_time_ms` + 3600000 AS `tick_ms`,
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
                    CAST(NULL AS STRING) AS `last_5_tracks`
                  FROM `t6` AS `t7`
                ) AS `t12`
              ) AS `t18`
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  `t7`.`user_id`,
                  `t7`.`previous_ms` + 3600000 AS `tick_ms`,
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
                  CAST(NULL AS STRING) AS `last_5_tracks`
                FROM `t6` AS `t7`
                WHERE
                  (
                    `t7`.`event_time_ms` - `t7`.`previous_ms`
                  ) < 3600000
              ) AS `t15`
            ) AS `t19`
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                `t5`.`user_id`,
                `t5`.`event_time_ms` AS `tick_ms`,
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
                  CAST(`t5`.`event_time_ms` + 1000000000000000 AS STRING),
                  CAST(CAST(`t5`.`kafka_partition` AS BIGINT) + 1000000 AS STRING),
                  CAST(`t5`.`kafka_offset` + 1000000000000000 AS STRING),
                  IF(SIZE(`t5`.`names`) > 0, CONCAT_WS('\037', `t5`.`names`), NULL)
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
                  COLLECT_LIST(`t1`.`track_id`) OVER (
                    PARTITION BY `t1`.`user_id`
                    ORDER BY `t1`.`event_time_ms` DESC, `t1`.`kafka_partition` DESC, `t1`.`kafka_offset` DESC
                    ROWS BETWEEN CURRENT ROW AND 4 FOLLOWING
                  ) AS `names`
                FROM (
                  SELECT
                    *
                  FROM `events` AS `t0`
                  WHERE
                    NOT `t0`.`user_id` IS NULL
                    AND `t0`.`event_type` = 'PLAY'
                    AND NOT `t0`.`track_id` IS NULL
                ) AS `t1`
              ) AS `t5`
            ) AS `t14`
          ) AS `t20`
        ) AS `t21`
        GROUP BY
          1,
          2
      ) AS `t22`
    ) AS `t23`
  ) AS `t24`
) AS `t25`
