"""Decoding by the batch, and the quoting of Flink's SQL; without Flink."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ibis
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.errors import ConfigError, UnsupportedError
from playhead.speed import sql
from playhead.speed.decode import KEPT_BYTES, PASSED, decode_batch, decoded_columns
from schemas.decode import decode, encode
from schemas.tables import event_columns, lake_columns

NOON_MS = 1_541_073_600_000
MAX_BYTES = 1_000
EVENT = {
    "event_id": "e1",
    "user_id": "u1",
    "track_id": "t1",
    "event_type": "SKIP",
    "event_time_ms": NOON_MS,
    "ms_played": 4_000,
    "content_type": "SONG",
}


def records(*payloads: bytes | None, latest_ms: int = NOON_MS, behind_ms: int = 0) -> pd.DataFrame:
    """Records of partition 3 as Flink passes them."""
    rows = [(payload, 3, 10 + i, latest_ms, behind_ms) for i, payload in enumerate(payloads)]
    return pd.DataFrame(rows, columns=list(PASSED))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def test_an_event_becomes_its_columns_its_place_and_no_reason() -> None:
    (row,) = rows_of(decode_batch(records(encode(EVENT)), MAX_BYTES))
    assert {name: value for name, value in row.items() if value is not None} == EVENT | {
        "kafka_partition": 3,
        "kafka_offset": 10,
        "late": False,
    }
    assert list(row) == list(decoded_columns())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (encode(EVENT)[:5], "malformed"),
        (b"", "missing_field:event_id"),
        (None, "missing_field:event_id"),
        (encode(EVENT | {"event_type": 99}), "unknown_event_type"),
        (encode(EVENT | {"event_time_ms": NOON_MS + 1}), "time_out_of_range"),
        (b"\0" * (MAX_BYTES + 1), "too_large"),
    ],
)
def test_a_bad_record_keeps_its_bytes_its_place_and_the_reason(payload: bytes | None, reason: str) -> None:
    (row,) = rows_of(decode_batch(records(payload), MAX_BYTES))
    assert {name: value for name, value in row.items() if value is not None} == {
        "kafka_partition": 3,
        "kafka_offset": 10,
        "reason": reason,
        "bad_payload": payload or b"",
        "bad_partition": 3,
        "bad_offset": 10,
        "bad_latest_ms": NOON_MS,
    }


def test_of_a_message_that_no_broker_would_take_back_the_beginning_is_kept() -> None:
    payload = bytes(KEPT_BYTES) + b"the rest"
    (row,) = rows_of(decode_batch(records(payload), MAX_BYTES))
    assert (row["reason"], row["bad_payload"]) == ("too_large", bytes(KEPT_BYTES))


@pytest.mark.parametrize(("behind_ms", "late"), [(NOON_MS - 1, False), (NOON_MS, True), (NOON_MS + 1, True)])
def test_late_is_what_is_not_after_the_records_bound(behind_ms: int, late: bool) -> None:
    (row,) = rows_of(decode_batch(records(encode(EVENT), behind_ms=behind_ms), MAX_BYTES))
    assert row["late"] is late


def test_no_records_give_no_rows_but_the_columns() -> None:
    frame = decode_batch(records(), MAX_BYTES)
    assert (len(frame), list(frame.columns)) == (0, list(decoded_columns()))


def test_big_integers_stay_exact_beside_nulls() -> None:
    offset = 2**63 - 1
    frame = pd.DataFrame([(encode(EVENT), 3, offset, NOON_MS, 0), (b"", 3, 0, NOON_MS, 0)], columns=list(PASSED))
    assert list(decode_batch(frame, MAX_BYTES)["kafka_offset"]) == [offset, 0]
    assert list(decode_batch(frame, MAX_BYTES)["ms_played"]) == [4_000, None]


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=60) | st.just(encode(EVENT)), max_size=8))
def test_a_batch_is_its_records_one_by_one_whatever_the_bytes(payloads: list[bytes]) -> None:
    rows = rows_of(decode_batch(records(*payloads), MAX_BYTES))
    assert [row["kafka_offset"] for row in rows] == [10 + i for i in range(len(payloads))]
    for payload, row in zip(payloads, rows, strict=True):
        expected = decode(payload, latest_ms=NOON_MS, max_bytes=MAX_BYTES)
        if isinstance(expected, str):
            assert (row["reason"], row["bad_payload"]) == (expected, payload)
        else:
            assert tuple(row[name] for name in event_columns()) == expected
        assert (row["event_id"] is None) == (row["reason"] is not None) == (row["late"] is None)


def test_decoded_columns_are_the_lakes_and_those_of_the_dead_letters() -> None:
    columns = decoded_columns()
    kinds = {"string": "STRING", "int64": "BIGINT", "int32": "INT", "bool": "BOOLEAN"}
    lake = {name: kinds[kind] for name, kind in lake_columns().items()}
    assert dict(list(columns.items())[: len(lake)]) == lake
    assert list(columns)[len(lake) :] == [
        "reason",
        "bad_payload",
        "bad_partition",
        "bad_offset",
        "bad_latest_ms",
    ]


@pytest.mark.parametrize("text", ["plain", "it's", "''", "back\\slash", "`", "--", "a;b", "é\n"])
def test_what_is_quoted_stays_one_token(text: str) -> None:
    assert sql.text(text)[1:-1].replace("''", "") == text.replace("'", "")
    assert sql.name(text)[1:-1].replace("``", "") == text.replace("`", "")
    assert sql.options({text: text}) == f"{sql.text(text)} = {sql.text(text)}"
    assert sql.columns({text: "INT"}) == f"{sql.name(text)} INT"


@pytest.mark.parametrize(
    ("length", "literal"),
    [
        (timedelta(0), "0 00:00:00.000"),
        (timedelta(milliseconds=1), "0 00:00:00.001"),
        (timedelta(days=31, hours=23, minutes=59, seconds=59, milliseconds=999), "31 23:59:59.999"),
    ],
)
def test_intervals_are_exact_to_the_millisecond(length: timedelta, literal: str) -> None:
    assert sql.interval(length) == f"INTERVAL '{literal}' DAY TO SECOND(3)"


def test_types_of_features_have_a_name_in_flink_and_others_are_refused() -> None:
    kinds = {"int64": "BIGINT", "float64": "DOUBLE", "string": "STRING", "array<string>": "ARRAY<STRING>"}
    assert {kind: sql.flink_type(ibis.dtype(kind)) for kind in kinds} == kinds
    with pytest.raises(UnsupportedError, match="decimal"):
        sql.flink_type(ibis.dtype("decimal(9, 2)"))


def test_identifiers_and_literals_of_a_relation_are_quoted() -> None:
    table = ibis.table({"group": "string"}, name="order")
    query = sql.compiled(table.filter(table.group == "o'clock"))
    assert "`order`" in query
    assert "`group` = 'o''clock'" in query


def test_a_row_frame_is_spelled_out() -> None:
    """Flink's default frame is RANGE, which gives all events of one moment the same value."""
    table = ibis.table({"k": "string", "t": "int64", "v": "int64"}, name="events")
    window = ibis.window(group_by="k", order_by="t", preceding=None, following=0)
    assert "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW" in sql.compiled(
        table.select(s=table.v.sum().over(window))
    )


def test_more_subtasks_than_partitions_are_refused() -> None:
    """The spare source would never have a watermark, and no window would ever close."""
    from playhead.speed.job import _check_parallelism

    _check_parallelism(4, 4)
    with pytest.raises(ConfigError, match="parallelism is 5, the events topic has 4 partitions"):
        _check_parallelism(5, 4)
