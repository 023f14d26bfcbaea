"""Data Docs: a page of each verdict as Great Expectations renders it, under `<home>/data-docs`. It needs no network.

Great Expectations' own frame of a page loads styles, scripts and fonts from elsewhere; here it has ours, a few
kilobytes that lie beside the pages. Its index is a table that a script makes; ours is plain HTML.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader

from playhead.config import Settings

if TYPE_CHECKING:
    from playhead.checks.verdicts import Verdict

FOLDER = "data-docs"
_TEMPLATES = Path(__file__).with_name("templates")
_STATIC = ("data-docs.css", "data-docs.js")
_PAGES = "pages.json"
"""What the index says of each page."""
_KEPT_DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Page:
    """A line of the index.

    Attributes:
        path: of the page, from the index.
        day: ISO; None of what has no day.
        at: when it was checked, ISO.
        failed: expectations that do not hold.
        expectations: all of them.
    """

    suite: str
    path: str
    day: str | None
    at: str
    failed: int
    expectations: int


def write(settings: Settings, verdicts: Iterable[tuple[Verdict, date | None]], *, now: datetime) -> Path:
    """Add pages for verdicts, each with the day that it is of, and make the index anew.

    A page of the same suite and day is replaced; a suite keeps the pages of its newest days.

    Args:
        settings: says where the home is.
        verdicts: as `validate` gave them; those that were not rendered are left out.
        now: when they were made, aware.

    Returns:
        The index.
    """
    root = settings.home / FOLDER
    (root / "static").mkdir(parents=True, exist_ok=True)
    for name in _STATIC:
        shutil.copyfile(_TEMPLATES / name, root / "static" / name)
    pages = {page.path: page for page in _pages(root)}
    for verdict, day in verdicts:
        if not verdict.rendered:
            continue
        page = _page(verdict, day, now)
        days = [str(each) for each in dict.fromkeys((*verdict.days[:1], *verdict.days[-1:]))]
        _replace(root / page.path, _render(verdict, f"{page.suite}, {'…'.join(days)}" if days else page.suite, now))
        pages[page.path] = page
    kept = _newest(pages.values())
    for path in pages.keys() - {page.path for page in kept}:
        (root / path).unlink(missing_ok=True)
    _replace(root / _PAGES, json.dumps([asdict(page) for page in kept], indent=1))
    _replace(root / "index.html", _index(kept))
    return root / "index.html"


def _page(verdict: Verdict, day: date | None, now: datetime) -> Page:
    # A colon in a link would be the end of a scheme.
    folder = re.sub(r"[^A-Za-z0-9_-]", "-", verdict.suite)
    return Page(
        suite=verdict.suite,
        path=f"{folder}/{day or 'last'}.html",
        day=day.isoformat() if day else None,
        at=f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        failed=len(verdict.failures),
        expectations=len(verdict.findings),
    )


def _pages(root: Path) -> list[Page]:
    file = root / _PAGES
    return [Page(**each) for each in json.loads(file.read_text())] if file.is_file() else []


def _newest(pages: Iterable[Page]) -> list[Page]:
    by_suite: dict[str, list[Page]] = {}
    for page in pages:
        by_suite.setdefault(page.suite, []).append(page)
    kept = [p for own in by_suite.values() for p in sorted(own, key=lambda p: p.day or "")[-_KEPT_DAYS:]]
    return sorted(sorted(kept, key=lambda p: p.suite), key=lambda p: p.day or "9", reverse=True)


def _index(pages: Sequence[Page]) -> str:
    from great_expectations import __version__

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    return environment.get_template("data_docs.html.j2").render(pages=pages, version=__version__)


def _render(verdict: Verdict, title: str, now: datetime) -> str:
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    passed = len(verdict.findings) - len(verdict.failures)
    result = expectationSuiteValidationResultSchema.load(
        {
            "success": verdict.success,
            "suite_name": verdict.suite,
            "results": [{**each, "result": _escaped(each["result"])} for each in verdict.rendered],
            "suite_parameters": {},
            "statistics": {
                "evaluated_expectations": len(verdict.findings),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(verdict.failures),
                "success_percent": 100 * passed / max(1, len(verdict.findings)),
            },
            "meta": {"run_id": {"run_name": title, "run_time": now.isoformat()}},
        }
    )
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    # The heading of the first section, which ours replaces, links to a page of the suite that there is not.
    overview = document.sections[0]
    overview.content_blocks = [each for each in overview.content_blocks if each.content_block_type != "header"]
    return str(_view().render(document, page_title=title))


def _escaped(seen: Any) -> Any:
    """What was seen in data, safe to stand in a page: Great Expectations puts some of it there as it is.

    >>> _escaped({"unexpected_list": ["<script>", 3]})
    {'unexpected_list': ['&lt;script&gt;', 3]}
    """
    if isinstance(seen, dict):
        return {name: _escaped(value) for name, value in seen.items()}
    if isinstance(seen, list):
        return [_escaped(value) for value in seen]
    return html.escape(seen) if isinstance(seen, str) else seen


def _view() -> Any:
    """Great Expectations' view of a page, with our frame around it."""
    from great_expectations.render.view import DefaultJinjaPageView

    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(_TEMPLATES), view.env.loader])
    return view


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
