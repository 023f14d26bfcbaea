SELECT
  `t1`.`dt`,
  `t1`.`track_id`,
  SUM(`t1`.`plays`) AS `plays`,
  SUM(`t1`.`skips`) AS `skips`,
  SUM(`t1`.`listen_ms`) AS `listen_ms`,
  SUM(`t1`.`episode_plays`) AS `episode_plays`
FROM (
  SELECT
    `t0`.`dt`,
    `t0`.`track_id`,
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
    ) AS `episode_plays`
  FROM `events` AS `t0`
  WHERE
    NOT `t0`.`track_id` IS NULL
) AS `t1`
GROUP BY
  1,
  2
