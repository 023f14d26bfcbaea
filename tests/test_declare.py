"""What may be declared, and what is said when it may not."""

from __future__ import annotations

from typing import Any

import pytest
from ibis import _

from features.entities import ends_play, is_play, is_skip, user
from playhead.compile import compile_group
from playhead.declare import (
    Count,
    CountDistinct,
    Derived,
    FeatureGroup,
    First,
    LastK,
    Max,
    Mean,
    Ratio,
    SessionStart,
    Sum,
    TopK,
    days,
    session,
    sliding,
)
from playhead.errors import DeclarationError
from playhead.testing import assert_values
from tests.spark import spark  # noqa: F401

PLAYS = Count("plays", where=is_play, over=sliding("1m", "1h"))
SKIPS = Count("skips", where=is_skip, over=sliding("1h"))


def group(*features: Any, name: str = "probe") -> FeatureGroup:
    return FeatureGroup(name=name, entity=user, features=features)


MEAN = group(Mean("listened", _.ms_played, where=ends_play, over=sliding("1m", "1h")), PLAYS)


def test_a_mean_leaves_out_what_has_no_value() -> None:
    assert_values(
        MEAN,
        """
        at                      | user_id | event_type | track_id | ms_played
        2025-03-01 10:00:00     | ada     | STOP       | t1       | 1000
        2025-03-01 10:00:01     | ada     | STOP       | t1       |
        2025-03-01 10:00:02     | ada     | STOP       | t1       | 2001
        2025-03-01 10:00:02.500 | ada     | PLAY       | t1       | 7
        """,
        """
        at                      | user_id | listened_1m | listened_1h | plays_1m
        2025-03-01 10:00:00     | ada     |             |             | 0
        2025-03-01 10:00:02     | ada     | 1000        | 1000        | 0
        2025-03-01 10:00:03     | ada     | 1500.5      | 1500.5      | 1
        2025-03-01 10:01:01     | ada     | 2001        | 1500.5      | 1
        2025-03-01 10:01:03     | ada     |             | 1500.5      | 0
        """,
    )


def test_what_a_mean_is_made_of_is_no_feature() -> None:
    plan = compile_group(MEAN)
    assert [name for name, _ in plan.schema] == ["listened_1m", "listened_1h", "plays_1m", "plays_1h"]
    assert plan.empty == {"plays_1m": 0, "plays_1h": 0}


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ((PLAYS, PLAYS), "feature 'plays_1h' is declared twice"),
        ((Count("a__b", where=is_play, over=sliding("1h")),), "name 'a__b_1h': allowed are words"),
        ((Count("Plays", where=is_play, over=sliding("1h")),), "name 'Plays_1h': allowed are words"),
        ((PLAYS, Count("days", where=is_play, over=days(7))), "mixes sliding, session and calendar windows"),
        ((LastK("last", _.track_id, k=3, where=is_play),), "has no windowed feature"),
        ((Ratio("rate", "skips_1h", "plays_1h"), PLAYS, SKIPS), "ratio of 'skips_1h', which is no number before it"),
        ((PLAYS, Max("plays_1h", _.ms_played, where=is_skip, over=sliding("1d"))), "'plays_1h' is the name of two"),
        ((Count("events", where=is_play, over=session()),), "name 'events' is that of a column which every table has"),
        ((PLAYS, LastK("second", _.track_id, k=3, where=is_play)), "name 'second' is that of a column"),
        ((PLAYS, SKIPS, Ratio("rate", "skips_1h", "play_1h")), "ratio of 'play_1h'.*did you mean 'plays_1h'"),
        ((PLAYS, Ratio("a", "b", "plays_1h"), Ratio("b", "plays_1m", "plays_1h")), "ratio of 'b', which is no number"),
        ((PLAYS, LastK("last", _.track_id, k=3, where=is_play), Ratio("r", "last", "plays_1h")), "ratio of 'last'"),
        (
            (Count("plays", where=is_play, over=days(7)), LastK("last", _.track_id, k=3, where=is_play)),
            "a LastK over days windows.*LastK goes with latestevents, lifetime, sliding",
        ),
        ((PLAYS, SessionStart("start", over=sliding("1h"))), "a SessionStart over sliding windows.*goes with session"),
        (
            (TopK("x", _.track_id, k=3, where=is_skip, over=sliding("1h")),),
            "a TopK over sliding windows, which no engine",
        ),
    ],
)
def test_a_declaration_that_is_wrong_says_where_and_what(features: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem) as raised:
        group(*features)
    assert f"{__file__}:" in str(raised.value)


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (
            Count("x", where=_.event_typ == "PLAY", over=sliding("1h")),
            "'x' of group 'probe'.*mean 'event_type'",
        ),
        (Count("x", where=_.event_type, over=sliding("1h")), "its where is string, expected boolean"),
        (Sum("x", _.track_id, where=is_play, over=sliding("1h")), "its value is string, expected integer"),
        (Mean("x", _.track_id, where=is_play, over=sliding("1h")), "its value is string, expected integer"),
        (
            First("x", _.event_type == "PLAY", where=is_play, over=sliding("1h")),
            "boolean, expected string or integer",
        ),
        (Sum("x", _.ms_played.sqrt(), where=is_play, over=sliding("1h")), "Sqrt is not computed alike by every engine"),
        (Sum("x", _.ms_played.cast("float64").cast("int64"), where=is_play, over=sliding("1h")), "cast from float64"),
        (Derived("x", _.play_1h / 2), "'x' of group 'probe'.*did you mean 'plays_1h'"),
        (Derived("x", _.plays_1h > 3), "its value is boolean, expected integer or floating"),
        (Derived("x", (_.plays_1h > 3).ifelse("heavy", "light")), "its value is string, expected integer or floating"),
        (CountDistinct("x", _.track_id.cast("int64"), where=is_play, over=sliding("1h")), "cast from string to int64"),
        (Sum("x", _.ms_played, where=_.ms_played.isin([1, None]), over=sliding("1h")), "null among the values of isin"),
        (Derived("x", _.last_3), "no number has the attribute 'last_3'"),
    ],
)
def test_an_expression_that_does_not_fit_is_found_when_compiled(feature: Any, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        compile_group(group(PLAYS, LastK("last_3", _.track_id, k=3, where=is_play), feature))


@pytest.mark.parametrize("label", ["0m", "2d", "1w", "90", "25h", "1.5h"])
def test_a_window_is_between_a_second_and_a_day(label: str) -> None:
    with pytest.raises(DeclarationError, match=rf"window '{label}' at .*test_declare.py:\d+: it is not"):
        sliding(label)
