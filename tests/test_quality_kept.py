"""What is kept of verdicts: readings, overrides, Data Docs; and what a user writes. Without an engine but Delta."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import great_expectations.expectations as gxe
import pandas as pd
import pytest
from deltalake import DeltaTable

from playhead.checks import data_docs, results
from playhead.checks.hand_written import hand_written, load
from playhead.checks.quality import Suite, validate
from playhead.checks.readings import standings
from playhead.checks.verdicts import Finding, Override, Verdict, keep, record_override
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import ConfigError, InputError, UnknownName

FIRST, SECOND = date(2026, 3, 2), date(2026, 3, 3)


def finding(column: str, *, success: bool, **values: Any) -> Finding:
    seen: dict[str, Any] = {"expectation": "expect_column_values_to_not_be_null", "condition": None, "error": None}
    return Finding(**seen | {"column": column, "success": success, "observed": None, "unexpected": 1} | values)


def verdict(day: date, *findings: Finding, suite: str = "events") -> dict[date, list[Verdict]]:
    return {day: [Verdict(suite=suite, days=(day,), findings=findings)]}


def stands(settings: Settings) -> dict[str, tuple[bool, datetime | None]]:
    """Measure of the events to whether it is as it should be, and since when not."""
    return {one.reading.measure: (one.reading.ok, one.since) for one in standings(settings, ["quality"])}


def test_a_failure_stands_since_its_hour_until_a_later_day_holds(settings: Settings) -> None:
    began = datetime(2026, 3, 2, 9, tzinfo=UTC)
    burst = finding("null_rise(device)", success=False, value=0.9, allowed=0.2, since=began)
    keep(settings, verdict(FIRST, burst, finding("user_id", success=True)), whole=True)
    assert stands(settings) == {"failures": (False, began), "null_rise(device)": (False, began)}
    (found,) = (one for one in standings(settings) if one.reading.measure == "null_rise(device)")
    assert (found.reading.value, found.reading.allowed) == (0.9, 0.2)
    keep(settings, verdict(SECOND, finding("null_rise(device)", success=True)), whole=True)
    assert stands(settings) == {"failures": (True, None), "null_rise(device)": (True, None)}


def test_a_day_that_is_judged_again_takes_its_failure_back_and_no_other(settings: Settings) -> None:
    for day in (FIRST, SECOND):
        keep(settings, verdict(day, finding("user_id", success=False)), whole=True)
    keep(settings, verdict(FIRST, finding("user_id", success=True)), whole=True)
    assert stands(settings)["not_be_null(user_id)"] == (False, datetime(2026, 3, 3, tzinfo=UTC))
    keep(settings, verdict(SECOND, finding("user_id", success=True)), whole=True)
    assert stands(settings)["not_be_null(user_id)"] == (True, None)


def test_what_is_expected_no_more_fails_no_more(settings: Settings) -> None:
    keep(settings, verdict(FIRST, finding("user_id", success=False)), whole=True)
    keep(settings, verdict(SECOND, finding("track_id", success=False)), whole=True)
    assert stands(settings)["not_be_null(user_id)"][0] is False, "a suite that fails may not have asked everything"
    keep(settings, verdict(SECOND, finding("track_id", success=True)), whole=True)
    assert {ok for ok, _ in stands(settings).values()} == {True}


def test_of_two_expectations_of_one_name_the_one_that_fails_counts(settings: Settings) -> None:
    both = (finding("x", success=True), finding("x", success=False, condition="y == 1"))
    keep(settings, verdict(FIRST, *both), whole=True)
    assert stands(settings)["not_be_null(x)"][0] is False


def test_a_check_of_one_table_leaves_the_others_as_they_were(settings: Settings) -> None:
    keep(settings, verdict(FIRST, finding("x", success=False)), whole=True)
    keep(settings, verdict(FIRST, finding("x", success=True), suite="listener_daily"), whole=False)
    kept = (results.load(settings, "quality") or {})["days"][str(FIRST)]
    assert {name: suite["success"] for name, suite in kept["suites"].items()} == {
        "events": False,
        "listener_daily": True,
    }
    assert kept["success"] is False


def test_an_override_says_who_why_and_what_failed(settings: Settings) -> None:
    bad = verdict(FIRST, finding("user_id", success=False))
    keep(settings, bad, whole=True)
    at = datetime(2026, 3, 3, 7, tzinfo=UTC)
    record_override(settings, Override(by="ana", reason="a test account"), bad, now=at)
    (row,) = DeltaTable(str(settings.lake / "checks" / "overrides")).to_pyarrow_table().to_pylist()
    failed = ["events: expect_column_values_to_not_be_null(user_id): 1 unexpected, observed None"]
    assert row == {"day": FIRST, "at": at, "by": "ana", "reason": "a test account", "failed": failed}
    kept = (results.load(settings, "quality") or {})["days"][str(FIRST)]
    assert kept["override"] == {
        "by": "ana",
        "reason": "a test account",
        "at": "2026-03-03T07:00:00.000+00:00",
        "failed": failed,
    }
    assert kept["success"] is False
    (reading,) = (one.reading for one in standings(settings) if one.reading.measure == "override")
    assert reading.detail.startswith("published by ana: a test account; failed: events: ")
    assert stands(settings)["not_be_null(user_id)"][0] is False, "what failed still fails"


def test_an_override_has_a_reason() -> None:
    with pytest.raises(InputError, match="for a reason only"):
        Override(by="ana", reason=" ")


# --- Data Docs -----------------------------------------------------------------------------------------------------

LOADED = re.compile(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')\s]+)|@import\s+["']?([^"';\s]+)""")


def loaded(file: Path) -> list[str]:
    """What a file of a site names as a link or to be loaded."""
    return ["".join(parts) for parts in LOADED.findall(file.read_text())]


def test_data_docs_load_nothing_from_elsewhere_and_link_to_what_is_there(settings: Settings) -> None:
    frame = pd.DataFrame({"a": [1, 2, None, "<b>x</b>"], "n": [1.0, 2.0, 3.0, 4.0]})
    suite = Suite(
        name="speed:a",
        expectations=(
            gxe.ExpectColumnValuesToNotBeNull(column="a"),
            gxe.ExpectColumnValuesToBeUnique(column="a"),
            gxe.ExpectTableRowCountToBeBetween(min_value=9),
            gxe.ExpectColumnMeanToBeBetween(column="n", max_value=1),
            gxe.ExpectColumnValuesToBeInSet(column="a", value_set=[1]),
        ),
    )
    found = validate(frame, suite, [FIRST])
    index = data_docs.write(settings, [(found, FIRST), (found, None)], now=datetime.now(UTC))
    assert index == settings.home / "data-docs" / "index.html"
    files = [file for file in index.parent.rglob("*") if file.suffix in {".html", ".css", ".js"}]
    assert len(files) == 5
    for file in files:
        assert "://" not in file.read_text(), file
        for target in loaded(file):
            if not target.startswith("#"):
                assert (file.parent / target).is_file(), (file, target)
    page = (index.parent / "speed-a" / f"{FIRST}.html").read_text()
    assert "values must never be null" in page
    assert "<b>x</b>" not in page
    assert "speed:a" in index.read_text()


# --- what a user writes --------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "quality.yaml"
    file.write_text(text)
    return file


def test_the_application_has_expectations_of_its_own() -> None:
    found = hand_written(load_declarations())
    assert {table: [e.expectation_type for e in own] for table, own in found.items()} == {
        "events": ["expect_column_values_to_match_regex"],
        "listener": ["expect_column_values_to_be_between"],
    }


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("events: 3", ConfigError, "quality.yaml: events: "),
        ("event: []", UnknownName, "table in .*quality.yaml: 'event'.*did you mean 'events'"),
        (
            "events:\n  - expect_column_values_to_be_betwen: {column: ms_played}",
            UnknownName,
            r"expectation at .*quality.yaml: events\[0\]: 'expect_column_values_to_be_betwen'.*did you mean",
        ),
        (
            "events:\n  - expect_column_values_to_be_unique: {column: event_ids}",
            UnknownName,
            r"column at .*quality.yaml: events\[0\] expect_column_values_to_be_unique: 'event_ids'.*'event_id'",
        ),
        (
            "events:\n  - expect_column_values_to_be_between: {column: ms_played, least: 3, max_value: 4}",
            ConfigError,
            r"quality.yaml: events\[0\]: expect_column_values_to_be_between: .*least.*not permitted",
        ),
        ("events: [", ConfigError, "quality.yaml: "),
    ],
    ids=["no list", "table", "expectation", "column", "argument", "no YAML"],
)
def test_an_expectation_that_is_wrong_is_named(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        load(written(tmp_path, text), {"events": ["event_id", "ms_played"]})
