"""Results of stages are replaced whole, and say when they were made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from playhead.checks import results
from playhead.config import Settings
from playhead.errors import InputError


def test_what_was_saved_is_loaded(settings: Settings) -> None:
    assert results.load(settings, "batch") is None
    assert results.load_all(settings) == {}
    results.save(settings, "batch", {"rows": 1})
    results.save(settings, "batch", {"rows": 2}, now=datetime(2024, 2, 29, 12, tzinfo=UTC))
    results.save(settings, "skew", {"rows": 3})
    assert results.load(settings, "batch") == {"rows": 2, "at": "2024-02-29T12:00:00.000+00:00"}
    assert list(results.load_all(settings)) == ["batch", "skew"]


def test_a_payload_that_is_no_json_leaves_the_last_result(settings: Settings) -> None:
    results.save(settings, "batch", {"rows": 1})
    for value in (float("nan"), object()):
        with pytest.raises(InputError, match="not plain JSON"):
            results.save(settings, "batch", {"rows": value})
    assert (results.load(settings, "batch") or {})["rows"] == 1
    assert [file.name for file in (settings.home / "results").iterdir()] == ["batch.json"]


def test_a_name_that_is_no_file_name_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="result name"):
        results.save(settings, "../batch", {})


@pytest.mark.parametrize(("text", "told"), [("{", "not valid JSON"), ("[]", "expected a JSON object, got list")])
def test_a_broken_result_is_named(settings: Settings, text: str, told: str) -> None:
    path = results.save(settings, "batch", {})
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        results.load(settings, "batch")
