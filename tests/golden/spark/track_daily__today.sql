SELECT
  `t5`.`track_id`,
  (
    `t5`.`tick_ms` - (
      `t5`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t5`.`plays`,
  `t5`.`skips`,
  `t5`.`listen_ms`,
  `t5`.`episode_plays`
FROM (
  SELECT
    `t4`.`track_id`,
    `t4`.`tick_ms`,
    SUM(`t4`.`plays`) OVER (
      PARTITION BY `t4`.`track_id`
      ORDER BY `t4`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays`,
    SUM(`t4`.`skips`) OVER (
      PARTITION BY `t4`.`track_id`
      ORDER BY `t4`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `skips`,
    SUM(`t4`.`listen_ms`) OVER (
      PARTITION BY `t4`.`track_id`
      ORDER BY `t4`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `listen_ms`,
    SUM(`t4`.`episode_plays`) OVER (
      PARTITION BY `t4`.`track_id`
      ORDER BY `t4`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `episode_plays`
  FROM (
    SELECT
      `t3`.`track_id`,
      `t3`.`tick_ms`,
      `t3`.`plays`,
      `t3`.`skips`,
      `t3`.`listen_ms`,
      `t3`.`episode_plays`,
      (
        `t3`.`tick_ms` - (
          `t3`.`tick_ms` % 1000
        )
      ) + 1000 AS `second`
    FROM (
      SELECT
        `t2`.`track_id`,
        `t2`.`tick_ms`,
        `t2`.`plays`,
        `t2`.`skips`,
        `t2`.`listen_ms`,
        `t2`.`episode_plays`
      FROM (
        SELECT
          `t1`.`track_id`,
          `t1`.`second`,
          MAX(`t1`.`tick_ms`) AS `tick_ms`,
          SUM(`t1`.`plays`) AS `plays`,
          SUM(`t1`.`skips`) AS `skips`,
          SUM(`t1`.`listen_ms`) AS `listen_ms`,
          SUM(`t1`.`episode_plays`) AS `episode_plays`
        FROM (
          SELECT
            CONCAT_WS(
              '|',
              `t0`.`track_id`,
              CAST(`t0`.`event_time_ms` - (
                `t0`.`event_time_ms` % 86400000
              ) AS STRING)
            ) AS `track_id`,
            `t0`.`event_time_ms` AS `tick_ms`,
            IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays`,
            IF(`t0`.`event_type` = 'SKIP', 1, 0) AS `skips`,
            IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t0`.`ms_played`, 0), 0) AS `listen_ms`,
            IF(
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
              ),
              1,
              0
            ) AS `episode_plays`,
            (
              `t0`.`event_time_ms` - (
                `t0`.`event_time_ms` % 1000
              )
            ) + 1000 AS `second`
          FROM `events` AS `t0`
          WHERE
            NOT `t0`.`track_id` IS NULL
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
        ) AS `t1`
        GROUP BY
          1,
          2
      ) AS `t2`
    ) AS `t3`
  ) AS `t4`
) AS `t5`
