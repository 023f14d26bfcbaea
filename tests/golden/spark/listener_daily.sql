SELECT
  `t1`.`dt`,
  `t1`.`user_id`,
  SUM(`t1`.`plays`) AS `plays`,
  SUM(`t1`.`skips`) AS `skips`,
  SUM(`t1`.`listen_ms`) AS `listen_ms`,
  SUM(`t1`.`songs`) AS `songs`,
  SUM(`t1`.`podcasts`) AS `podcasts`,
  SUM(`t1`.`audiobooks`) AS `audiobooks`
FROM (
  SELECT
    `t0`.`dt`,
    `t0`.`user_id`,
    IF(`t0`.`event_type` = 'PLAY', 1, 0) AS `plays`,
    IF(`t0`.`event_type` = 'SKIP', 1, 0) AS `skips`,
    IF(`t0`.`event_type` IN ('SKIP', 'COMPLETE', 'STOP'), COALESCE(`t0`.`ms_played`, 0), 0) AS `listen_ms`,
    IF((
      `t0`.`event_type` = 'PLAY'
    ) AND (
      `t0`.`content_type` = 'SONG'
    ), 1, 0) AS `songs`,
    IF(
      (
        `t0`.`event_type` = 'PLAY'
      )
      AND (
        `t0`.`content_type` = 'PODCAST_EPISODE'
      ),
      1,
      0
    ) AS `podcasts`,
    IF(
      (
        `t0`.`event_type` = 'PLAY'
      )
      AND (
        `t0`.`content_type` = 'AUDIOBOOK_CHAPTER'
      ),
      1,
      0
    ) AS `audiobooks`
  FROM `events` AS `t0`
  WHERE
    NOT `t0`.`user_id` IS NULL
) AS `t1`
GROUP BY
  1,
  2
