"""Lineage: what a feature is made of, and whom it concerns when something is wrong."""

from __future__ import annotations

import pytest

from playhead.declarations import Declarations, load_declarations
from playhead.errors import InputError, UnknownName
from playhead.lineage import Affected, Lineage, affected, lineage_of


@pytest.fixture(scope="module")
def declared() -> Declarations:
    return load_declarations()


@pytest.fixture(scope="module")
def lineage(declared: Declarations) -> Lineage:
    return lineage_of(declared)


def test_a_field_reaches_what_filters_values_and_keys_name(declared: Declarations) -> None:
    found = affected(declared, field="ms_played")
    assert {"listener__early_skips_1h", "listener__early_skip_rate_1h", "track_daily__listen_ms_7d"} <= {
        *found.features
    }
    assert not {"listener__plays_1h", "listener__skip_rate_1h"} & {*found.features}
    assert {name.partition("__")[0] for name in affected(declared, field="artist_id").features} >= {
        "artist",
        "affinity",
    }


def test_a_field_that_finds_a_row_of_a_dimension_reaches_what_is_enriched(lineage: Lineage) -> None:
    made = lineage.reads["listener__valence_last_20"]
    assert {"events.track_id", "track.valence"} <= {*made}
    assert "listener__valence_last_20" in lineage.of_subject("events.track_id").features
    assert "listener__valence_last_20" in lineage.of_subject("track.valence").features


def test_every_feature_of_events_needs_their_time_and_their_id(lineage: Lineage) -> None:
    late, twice = lineage.of_subject("events.event_time_ms"), lineage.of_subject("events.event_id")
    assert late == twice == lineage.of_subject("events")
    assert not [name for name in late.features if name.startswith(("track_item__", "context__", "item__"))]


def test_what_is_computed_when_it_is_asked_for_is_made_of_its_inputs(declared: Declarations) -> None:
    found = affected(declared, feature="listener_daily__top_genres_30d")
    assert found.features == (
        "listener_daily__top_genres_30d",
        "affinity__genre_affinity",
        "affinity__artist_affinity",
    )
    assert found.services == ("listener_v1",)


def test_a_ratio_is_made_of_its_parts(declared: Declarations) -> None:
    assert affected(declared, feature="track_daily__skips_30d").features == (
        "track_daily__skips_30d",
        "track_daily__skip_rate_30d",
    )


def test_a_feature_that_no_service_reads_reaches_none(declared: Declarations) -> None:
    assert affected(declared, group="artist_daily").services == ()


def test_a_view_that_is_named_like_a_dimension_is_the_view(lineage: Lineage) -> None:
    found = lineage.of_subject("track").features
    assert "track__plays_1h" in found
    assert "listener__valence_last_20" not in found


@pytest.mark.parametrize("subject", ["playback-events", "no_such__feature", "online", ""])
def test_a_subject_that_is_nothing_declared_concerns_nobody(lineage: Lineage, subject: str) -> None:
    assert lineage.of_subject(subject) == Affected()


def test_a_service_concerns_itself_and_several_subjects_all_of_theirs(lineage: Lineage) -> None:
    assert lineage.of_subject("listener_v1") == Affected(services=("listener_v1",))
    found = lineage.of_subjects(["artist_daily", "track__plays_1m"])
    assert found.features[0] == "track__plays_1m"
    assert len(found.features) == 7


def test_a_part_of_something_concerns_whom_the_part_concerns(lineage: Lineage) -> None:
    assert lineage.of_part("events", "track_id") == lineage.of_subject("events.track_id")
    assert lineage.of_part("track_daily", "plays_7d").features == ("track_daily__plays_7d",)
    known = lineage.of_part("events", "track").features
    assert "listener__valence_last_20" in known and "track__plays_1h" not in known
    assert lineage.of_part("events", "no_such") == lineage.of_subject("events")


def test_the_sources_are_fields_and_columns(lineage: Lineage) -> None:
    assert {"events.ms_played", "track.genre"} <= {*lineage.sources}
    assert not [name for name in lineage.sources if "__" in name]


@pytest.mark.parametrize("given", [{}, {"field": "track_id", "group": "track"}])
def test_exactly_one_thing_is_asked_for(declared: Declarations, given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="exactly one"):
        affected(declared, **given)


@pytest.mark.parametrize("kind", ["field", "group", "feature"])
def test_what_is_not_declared_is_named(declared: Declarations, kind: str) -> None:
    with pytest.raises(UnknownName, match="skiped"):
        affected(declared, **{kind: "skiped"})
