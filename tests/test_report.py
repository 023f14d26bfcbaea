"""The report: one page of plain HTML, from whatever a home has."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playhead.cli import app
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError
from playhead.report.facts import Facts
from playhead.report.gather import gather
from playhead.report.page import content_policy, render, write_page
from playhead.report.words import age
from tests.homes import EVIL, NOW, day_of, make_used, save


@dataclass
class Page(HTMLParser):
    """What a test asks about a page."""

    text: str = ""
    tags: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "wbr", "rect", "path"):
            self.open.append(tag)
        if tag == "caption":
            self.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path"):
            assert self.open.pop() == tag

        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "caption" in self.open:
            self.captions[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def page_of(facts: Facts) -> Page:
    """The parsed page; every element of it is closed where it should be."""
    page = Page()
    page.feed(render(facts))
    page.close()
    assert page.open == []
    page.text = " ".join(page.text.split())
    return page


def gathered(settings: Settings) -> Facts:
    return gather(settings, load_declarations(), now=NOW)


@pytest.fixture
def used(settings: Settings) -> Settings:
    """A home that has run: lake, results, and something wrong in most of them."""
    make_used(settings)
    return settings


def test_a_home_where_nothing_has_run_says_so(settings: Settings) -> None:
    page = page_of(gathered(settings))
    assert "Nothing found wrong" in page.text
    assert "Not running, so not asked: kafka, redis, jobmanager, taskmanager." in page.text
    unchecked = "the count of the topic, the quality gate, the skew check, the freshness check, the drift check"
    assert f"Not run yet: {unchecked}." in page.text
    assert "No events in the lake yet." in page.text


def test_the_page_needs_nothing_else(used: Settings) -> None:
    facts = gathered(used)
    page, html = page_of(facts), render(facts)
    assert not page.tags.keys() & {"script", "img", "iframe", "object", "embed", "form"}
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"@import|url\(|//", style)
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    assert not [name for _, attributes in page.attributes for name in attributes if name.startswith("on")]
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == content_policy()
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not [attributes for _, attributes in page.attributes if "style" in attributes]


def test_the_cause_of_skew_is_told(used: Settings) -> None:
    text = page_of(gathered(used)).text
    assert "2 of 1,000 values (late event 2): listener__plays_1h (2)." in text


def test_what_a_file_says_is_text(used: Settings) -> None:
    html = render(gathered(used))
    assert EVIL not in html
    assert html.count("&lt;script&gt;") == 2


def test_the_page_can_be_found_through_without_seeing_it(used: Settings) -> None:
    page = page_of(gathered(used))
    assert [page.tags[tag] for tag in ("h1", "main", "nav", "header", "footer")] == [1, 1, 1, 1, 1]
    assert page.all("html") == [{"lang": "en"}]
    ids = [str(attributes["id"]) for _, attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"]).removeprefix("#") for link in page.all("a")} <= set(ids)
    assert {section["aria-labelledby"] for section in page.all("section")} <= set(ids)
    assert page.tags["table"] == page.tags["caption"] == len([c for c in page.captions if c.strip()])
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    assert all(drawn.get("aria-hidden") == "true" or drawn.get("aria-label") for drawn in page.all("svg"))
    assert [each.get("aria-label") for each in page.all("ol")] == [None, "Stages, in the order of the data's way"]


def test_the_picture_and_its_text_have_the_same_stages(used: Settings) -> None:
    page = page_of(gathered(used))
    for stage in ("Replay", "Events topic", "Speed job", "Feature rows", "Online store", "Training set"):
        assert page.text.count(stage) >= 2


def test_counts_times_and_tables_of_a_home_that_has_run(used: Settings) -> None:
    page = page_of(gathered(used))
    assert "1,201 events" in page.text
    assert "1 late" in page.text
    assert "every record has its place" in page.text
    assert "2025-03-03 12:19:59" in page.text  # the newest event
    assert "3 min ago" in page.text
    assert "Dead letters: malformed 29 29" in page.text
    assert "listener_v1: 1,000 vectors, 2 values differ" in page.text
    assert "plays_1h 1,000 998 2 1 0" in page.text
    assert load_declarations().plan("listener").fingerprint in page.text


def test_what_is_wrong_comes_first_and_leads_to_more(used: Settings) -> None:
    html = render(gathered(used))
    assert "3 things are wrong" in html
    assert html.index("3 things are wrong") < html.index("Counts through each stage")
    for title in ("2.3% of the records are dead letters", "Quality of events fails", "Served values differ"):
        assert title in html


def test_a_failed_suite_stands_before_those_that_passed(used: Settings) -> None:
    days = {"2025-03-01": day_of("2025-03-01"), "2025-03-02": day_of("2025-03-02", failed=True)}
    days["2025-03-01"]["suites"]["artist_daily"] = days["2025-03-01"]["suites"]["events"]
    save(used, "quality", days=days)
    page = page_of(gathered(used))
    assert page.text.index("expect_column_values_to_be_between") < page.text.index("All suites")
    assert page.text.index("events ✗ failed 1 2 1") < page.text.index("artist_daily ✓ passed 1 1 0")


def test_a_batch_of_days_is_one_verdict(settings: Settings) -> None:
    batch = ("2025-03-01", "2025-03-02")
    save(settings, "quality", days={day: day_of(day, batch=batch) for day in batch})
    (verdict,) = gathered(settings).stages.quality
    assert verdict.days == batch


def test_text_can_be_read_on_its_ground() -> None:
    """At least 4.5 to 1 (WCAG AA), light and dark."""
    css = (Path(gather.__code__.co_filename).parent / "templates" / "report.css").read_text()
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", part)) for part in css.split("@media", 2)[:2])
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for text in ("ink", "muted", "link", "good", "bad"):
            for ground in ("ground", "card"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for text, ground in (("ink", "bar"), ("bad", "bad-ground"), ("good", "good-ground"), ("warn", "warn-ground")):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for text in ("ink", "muted", "link"):
            assert contrast(colours[text], colours["bad-ground"]) >= 4.5, text


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    pairs = re.findall("..", digits if len(digits) == 6 else "".join(d * 2 for d in digits))
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (int(p, 16) / 255 for p in pairs)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_age_says_past_and_future() -> None:
    assert age(NOW - timedelta(seconds=59), NOW) == "59 s ago"
    assert age(NOW - timedelta(days=3_000), NOW) == "8 years ago"
    assert age(NOW + timedelta(minutes=5), NOW) == "in 5 min"


def test_the_page_replaces_the_one_before(used: Settings, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    write_page(gathered(used), page)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.glob("*page*")] == ["page.html"]


@pytest.mark.parametrize("name", ["no/such/folder/page.html", "."])
def test_a_page_that_cannot_be_written_is_an_error(settings: Settings, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"page\.html|is not a file"):
        write_page(gathered(settings), tmp_path / name)


def test_the_command_writes_to_the_home_and_ends_well_whatever_is_wrong(used: Settings) -> None:
    done = CliRunner().invoke(app, ["report", "--home", str(used.home)])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(used.home / "report.html")
    assert "Served values differ" in done.stderr
    assert "<!DOCTYPE html>" in (used.home / "report.html").read_text()


def test_the_command_prints_facts_as_json(used: Settings) -> None:
    done = CliRunner().invoke(app, ["report", "--home", str(used.home), "--json"])
    facts = json.loads(done.stdout)
    assert facts["lake"]["events"]["by_day"] == {"2025-03-02": 1, "2025-03-03": 1_200}
    assert facts["lake"]["events"]["newest"] == "2025-03-03T12:19:59+00:00"
    assert len(facts["problems"]) == 3
    assert not (used.home / "report.html").exists()
