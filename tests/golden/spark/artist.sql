SELECT
  `t12`.`artist_id`,
  (
    `t12`.`tick_ms` - (
      `t12`.`tick_ms` % 1000
    )
  ) + 1000 AS `event_timestamp_ms`,
  `t12`.`plays_1m`,
  `t12`.`plays_1h`,
  `t12`.`plays_1d`
FROM (
  SELECT
    `t11`.`artist_id`,
    `t11`.`tick_ms`,
    SUM(`t11`.`plays_1m`) OVER (
      PARTITION BY `t11`.`artist_id`
      ORDER BY `t11`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1m`,
    SUM(`t11`.`plays_1h`) OVER (
      PARTITION BY `t11`.`artist_id`
      ORDER BY `t11`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1h`,
    SUM(`t11`.`plays_1d`) OVER (
      PARTITION BY `t11`.`artist_id`
      ORDER BY `t11`.`tick_ms` ASC NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `plays_1d`
  FROM (
    SELECT
      `t10`.`artist_id`,
      `t10`.`tick_ms`,
      `t10`.`plays_1m`,
      `t10`.`plays_1h`,
      `t10`.`plays_1d`,
      (
        `t10`.`tick_ms` - (
          `t10`.`tick_ms` % 1000
        )
      ) + 1000 AS `second`
    FROM (
      SELECT
        `t9`.`artist_id`,
        `t9`.`tick_ms`,
        `t9`.`plays_1m`,
        `t9`.`plays_1h`,
        `t9`.`plays_1d`
      FROM (
        SELECT
          `t8`.`artist_id`,
          `t8`.`second`,
          MAX(`t8`.`tick_ms`) AS `tick_ms`,
          SUM(`t8`.`plays_1m`) AS `plays_1m`,
          SUM(`t8`.`plays_1h`) AS `plays_1h`,
          SUM(`t8`.`plays_1d`) AS `plays_1d`
        FROM (
          SELECT
            `t7`.`artist_id`,
            `t7`.`tick_ms`,
            `t7`.`plays_1m`,
            `t7`.`plays_1h`,
            `t7`.`plays_1d`,
            (
              `t7`.`tick_ms` - (
                `t7`.`tick_ms` % 1000
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
                    `t0`.`artist_id`,
                    `t0`.`event_time_ms` AS `tick_ms`,
                    IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1m`,
                    IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1h`,
                    IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays_1d`
                  FROM `events` AS `t0`
                  WHERE
                    NOT `t0`.`artist_id` IS NULL AND `t0`.`event_type` = 'PLAY'
                ) AS `t1`
                UNION ALL
                SELECT
                  *
                FROM (
                  SELECT
                    `t0`.`artist_id`,
                    `t0`.`event_time_ms` + 60000 AS `tick_ms`,
                    -(
                      IF(`t0`.`event_type` = 'PLAY', 1, 0)
                    ) AS `plays_1m`,
                    0 AS `plays_1h`,
                    0 AS `plays_1d`
                  FROM `events` AS `t0`
                  WHERE
                    NOT `t0`.`artist_id` IS NULL AND `t0`.`event_type` = 'PLAY'
                ) AS `t4`
              ) AS `t5`
              UNION ALL
              SELECT
                *
              FROM (
                SELECT
                  `t0`.`artist_id`,
                  `t0`.`event_time_ms` + 3600000 AS `tick_ms`,
                  0 AS `plays_1m`,
                  -(
                    IF(`t0`.`event_type` = 'PLAY', 1, 0)
                  ) AS `plays_1h`,
                  0 AS `plays_1d`
                FROM `events` AS `t0`
                WHERE
                  NOT `t0`.`artist_id` IS NULL AND `t0`.`event_type` = 'PLAY'
              ) AS `t3`
            ) AS `t6`
            UNION ALL
            SELECT
              *
            FROM (
              SELECT
                `t0`.`artist_id`,
                `t0`.`event_time_ms` + 86400000 AS `tick_ms`,
                0 AS `plays_1m`,
                0 AS `plays_1h`,
                -(
                  IF(`t0`.`event_type` = 'PLAY', 1, 0)
                ) AS `plays_1d`
              FROM `events` AS `t0`
              WHERE
                NOT `t0`.`artist_id` IS NULL AND `t0`.`event_type` = 'PLAY'
            ) AS `t2`
          ) AS `t7`
        ) AS `t8`
        GROUP BY
          1,
          2
      ) AS `t9`
    ) AS `t10`
  ) AS `t11`
) AS `t12`
