"""Which tracks there are for a listener for whom nobody has chosen any."""

from __future__ import annotations

from datetime import timedelta

import pytest

from playhead.serving.fallbacks import POOL, TOP_TRACKS, Source, TrackLists, chosen, lists_for

USER, EVERYBODY, SONGS = (TOP_TRACKS, "u"), (TOP_TRACKS, ""), (POOL, "SONG")


def known(**lists: list[str]) -> TrackLists:
    found = TrackLists()
    keys = {"user": USER, "everybody": EVERYBODY, "songs": SONGS}
    found.learn({keys[name]: tracks for name, tracks in lists.items()})
    return found


@pytest.mark.parametrize(
    ("lists", "of_any_type", "of_songs"),
    [
        (
            {"user": ["p", "s1"], "everybody": ["s2"], "songs": ["s2", "s1"]},
            ("user_top_tracks", ["p", "s1"]),
            ("user_top_tracks", ["s1"]),
        ),
        (
            {"user": ["p"], "everybody": ["p", "s2"], "songs": ["s1", "s2"]},
            ("user_top_tracks", ["p"]),
            ("global_top_tracks", ["s2"]),
        ),
        (
            {"user": [], "everybody": ["p"], "songs": ["s1", "s2"]},
            ("global_top_tracks", ["p"]),
            ("content_type_pool", ["s1", "s2"]),
        ),
        ({}, ("none", []), ("none", [])),
        ({"user": ["p"], "everybody": ["p"]}, ("user_top_tracks", ["p"]), ("none", [])),
    ],
)
def test_the_first_list_that_has_tracks_is_taken(
    lists: dict[str, list[str]], of_any_type: tuple[Source, list[str]], of_songs: tuple[Source, list[str]]
) -> None:
    assert chosen(lists_for("u", None), known(**lists)) == of_any_type
    assert chosen(lists_for("u", "SONG"), known(**lists)) == of_songs


def test_a_list_is_read_again_after_a_while_and_known_meanwhile() -> None:
    now_s = 0.0
    lists = TrackLists(timedelta(seconds=60), lambda: now_s)
    assert lists.due([USER, EVERYBODY]) == [USER, EVERYBODY]
    lists.learn({USER: ["t1"], EVERYBODY: []})
    now_s = 59.0
    assert lists.due([USER, EVERYBODY]) == []
    now_s = 60.0
    assert lists.due([USER, EVERYBODY]) == [USER, EVERYBODY]
    assert lists[USER] == ["t1"]
    lists.learn({USER: ["t2"]})
    assert (lists[USER], lists.due([USER, EVERYBODY])) == (["t2"], [EVERYBODY])


def test_lists_that_were_read_longest_ago_make_room() -> None:
    lists = TrackLists(room=2)
    for entity in "aba":
        lists.learn({(TOP_TRACKS, entity): [entity]})
    lists.learn({(TOP_TRACKS, "c"): ["c"]})
    assert [lists[TOP_TRACKS, entity] for entity in "abc"] == [["a"], [], ["c"]]
