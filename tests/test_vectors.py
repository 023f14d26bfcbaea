"""Vectors as a program gets them: tables, matrices, a status for each value."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from features.content import artist, track
from features.entities import is_play, user
from features.listener import listener
from playhead.declarations import Declarations
from playhead.declare import Count, FeatureGroup, FeatureService, OnDemand, days
from playhead.errors import InputError
from playhead.relations import DAY_MS
from playhead.serving.fetched import Fetched
from playhead.serving.online import OnlineStore
from playhead.serving.online_features import OnlineFeatures
from playhead.serving.online_merge import EVERYBODY, OnlineMerge
from playhead.serving.packed import Packer
from tests.memory import MemoryRedis

NOW_S = 1_700_000_123.456
WEEKS = FeatureGroup(name="weeks", entity=user, features=(Count("plays", where=is_play, over=days(2, 7)),))


def _share(plays_1h: int | None, skips_1h: int | None) -> dict[str, float | None]:
    return {"share": None if not plays_1h or skips_1h is None else skips_1h / plays_1h}


SHARE = OnDemand(
    name="of_track",
    features={"share": "float64"},
    inputs=("track.plays_1h", "track.skips_1h"),
    of=(track,),
    function=_share,
)
SERVICE = FeatureService(
    name="probe_v1",
    groups=(listener, track, artist, WEEKS),
    on_demand=(SHARE,),
    features=(
        "listener.plays_1h",
        "listener.last_5_tracks",
        "track.plays_1h",
        "track.skips_1h",
        "artist.plays_1h",
        "weeks.plays_2d",
        "weeks.plays_7d",
        "of_track.share",
    ),
    defaults={"artist.plays_1h": -1},
)
DECLARED = Declarations((listener, track, artist, WEEKS), (SERVICE,), (SHARE,))


@pytest.fixture
def redis() -> MemoryRedis:
    rows = MemoryRedis()
    rows.put(Packer.of(DECLARED.plan("listener")), "u1", 5, {"plays_1h": 3, "last_5_tracks": ["t1", "t2"]})
    for place, name in enumerate(("t1", "t2"), start=1):
        rows.put(Packer.of(DECLARED.plan("track")), name, place, {"plays_1h": 2 * place, "skips_1h": 1})
    other = Packer("track", DECLARED.plan("track").schema, "f" * 16)
    rows.put(other, "foreign", 9, {"plays_1h": 99})
    return rows


def fetched(redis: MemoryRedis, **entities: object) -> Fetched:
    online = OnlineFeatures(OnlineStore(redis, "memory"), DECLARED, lambda: NOW_S)
    return online.fetch("probe_v1", entities)  # type: ignore[arg-type]


def test_a_table_has_a_row_for_each_of_the_lists(redis: MemoryRedis) -> None:
    found = fetched(redis, user_id="u1", track_id=["t2", "t1", "t2", None, "t9", "foreign"])
    table = found.to_arrow()
    assert (table.num_rows, table.column_names) == (6, [*found.kinds])
    assert table.schema.types == [*found.kinds.values()]
    rows = table.to_pylist()
    assert [row["listener__plays_1h"] for row in rows] == [3] * 6
    assert [row["listener__last_5_tracks"] for row in rows] == [["t1", "t2"]] * 6
    assert [row["track__plays_1h"] for row in rows] == [4, 2, 4, None, 0, None]
    assert [row["of_track__share"] for row in rows] == [0.25, 0.5, 0.25, None, None, None]
    assert [row["artist__plays_1h"] for row in rows] == [-1] * 6, "nobody: the default"
    assert found.event_timestamps_ms["track"].to_list() == [2, 1, 2, None, None, None]


def test_each_value_has_a_status(redis: MemoryRedis) -> None:
    statuses = fetched(redis, user_id="u1", track_id=["t2", None, "t9", "foreign"]).status_table()
    assert statuses["track__plays_1h"].to_pylist() == ["present", "missing", "missing", "refused"]
    assert statuses["listener__plays_1h"].to_pylist() == ["present"] * 4
    assert statuses["of_track__share"].to_pylist() == ["present", "missing", "present", "present"]
    assert statuses["artist__plays_1h"].to_pylist() == ["missing"] * 4
    assert statuses["weeks__plays_7d"].to_pylist() == ["stale"] * 4, "nothing was ever published"
    assert statuses["weeks__plays_2d"].to_pylist() == ["missing"] * 4


def test_a_window_is_stale_where_another_is_not(redis: MemoryRedis) -> None:
    plan = DECLARED.plan("weeks")
    merge, today_ms = OnlineMerge(plan), int(NOW_S * 1_000) // DAY_MS * DAY_MS  # type: ignore[arg-type]
    redis.put(merge.end, EVERYBODY, today_ms - 3 * DAY_MS, {})
    redis.put(merge.today, f"u1|{today_ms}", today_ms + 1, {"plays": 5})
    found = fetched(redis, user_id=["u1", "u2"])
    statuses = found.status_table()
    assert statuses["weeks__plays_2d"].to_pylist() == ["present", "missing"]
    assert statuses["weeks__plays_7d"].to_pylist() == ["stale", "stale"]
    assert found.to_arrow()["weeks__plays_2d"].to_pylist() == [5, 0]
    assert found.to_arrow()["weeks__plays_7d"].to_pylist() == [None, None]
    assert found.counts["weeks", "stale"] == 2


def test_a_matrix_has_the_numbers_in_the_order_asked_for(redis: MemoryRedis) -> None:
    found = fetched(redis, user_id="u1", track_id=["t1", "t9"])
    matrix = found.to_numpy(["of_track__share", "listener__plays_1h", "track__plays_1h"])
    assert (matrix.shape, matrix.dtype) == ((2, 3), np.float64)
    assert matrix[0].tolist() == [0.5, 3, 2]
    assert math.isnan(matrix[1, 0]) and matrix[1, 1:].tolist() == [3, 0]
    numbers = [name for name, kind in found.kinds.items() if kind in (pa.int64(), pa.float64())]
    assert np.array_equal(found.to_numpy(), found.to_numpy(numbers), equal_nan=True)
    with pytest.raises((TypeError, ValueError)):
        found.to_numpy(["listener__last_5_tracks"])
    with pytest.raises(KeyError, match="absent"):
        found.to_numpy(["absent"])


def test_entities_that_do_not_fit_are_named(redis: MemoryRedis) -> None:
    with pytest.raises(InputError, match="album_id: service 'probe_v1' has user_id, track_id, artist_id"):
        fetched(redis, album_id="a")
    with pytest.raises(InputError, match="2 of track_id, 3 of artist_id: not one for each row"):
        fetched(redis, track_id=["t1", "t2"], artist_id=["a", "b", "c"])
    assert redis.round_trips == 0


def test_no_rows_and_nobody_known(redis: MemoryRedis) -> None:
    none = fetched(redis, user_id="u1", track_id=[])
    assert (none.rows, none.to_arrow().num_rows, none.to_numpy().shape[0]) == (0, 0, 0)
    (row,) = fetched(redis).to_arrow().to_pylist()
    assert set(row.values()) == {None, -1}
    assert fetched(redis, user_id=None).rows == 1
