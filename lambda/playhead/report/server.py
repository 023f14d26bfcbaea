"""The page as a server: made anew in the background, so that it opens at once however long asking everything takes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from playhead.config import LOCALHOST, Settings
from playhead.declarations import load_declarations
from playhead.report.facts import Facts, Unread
from playhead.report.gather import gather
from playhead.report.page import DATA_DOCS, Links, content_policy, render, to_json
from playhead.serving.listening import listening, run_app, url_of
from playhead.stack.ports import Port

log = structlog.get_logger()

Metrics = Callable[[Settings], bytes]
"""What Prometheus is told, in its text format."""

_REST = 4
"""Between two looks at everything there is a pause of so many times the time that one takes."""

_DOCS_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src 'self' data:"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A page that was made.

    Attributes:
        facts: what it shows.
        html: the page.
        json: the facts.
        failure: why it could not be made anew since; empty when it could.
    """

    facts: Facts
    html: bytes
    json: bytes
    failure: str = ""


class Pages:
    """The newest page. It is made by `make`, and once more in the background while `kept` holds."""

    def __init__(self, settings: Settings, look: Callable[[], Facts], *, metrics: bool = False) -> None:
        self._settings = settings
        self._look = look
        self._metrics = metrics
        self._made: Made | None = None

    @property
    def newest(self) -> Made:
        """The page that was made last; the first is made when it is asked for."""
        return self._made or self.make()

    def make(self) -> Made:
        """Ask everything, and make the page of it."""
        self._made = made = self._render(self._look())
        return made

    @contextmanager
    def kept(self, stop: Event) -> Iterator[None]:
        """Make it anew every `report.refresh`, in a thread that ends with `stop`."""
        thread = Thread(target=self._keep, args=(stop,), name="report")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _keep(self, stop: Event) -> None:
        took = 0.0
        while not stop.wait(max(self._settings.report.refresh.total_seconds(), _REST * took)):
            began = time.monotonic()
            try:
                self.make()
            # Whatever it is, the page must go on and say so: a page that stands still looks like one without news.
            except Exception as error:
                log.exception("the page could not be made anew")
                self._fail(f"{type(error).__name__}: {error}")
            took = time.monotonic() - began

    def _fail(self, why: str) -> None:
        last = self.newest
        unread = (*(each for each in last.facts.unread if each.source != _PAGE), Unread(source=_PAGE, why=why))
        self._made = replace(self._render(replace(last.facts, unread=unread)), failure=why)

    def _render(self, facts: Facts) -> Made:
        docs = DATA_DOCS.as_posix() if (self._settings.home / DATA_DOCS).is_file() else None
        links = Links(again="/", facts="/facts.json", metrics="/metrics" if self._metrics else None, data_docs=docs)
        return Made(facts=facts, html=render(facts, links).encode(), json=to_json(facts).encode())


_PAGE = "What is newer than this page"


def run_page(settings: Settings, stop: Event, *, metrics: Metrics | None = None) -> None:
    """Serve the page on this machine until told to stop.

    Args:
        settings: say where to listen, how often to look, and where everything is.
        stop: set it to end.
        metrics: what `/metrics` gives; None: there is no such path.

    Raises:
        StackError: the port is taken, or the server ended by itself.
        ConfigError: from declarations that cannot be loaded.
    """
    pages = Pages(settings, functools.partial(gather, settings, load_declarations()), metrics=metrics is not None)
    port = Port(number=settings.report.port, setting="report.port")
    with listening(LOCALHOST, port) as listener:
        pages.make()
        with pages.kept(stop):
            log.info("the page is served", url=url_of(listener))
            run_app(create_app(settings, pages, metrics), listener, stop)


def create_app(settings: Settings, pages: Pages, metrics: Metrics | None = None) -> FastAPI:
    """The application: `/`, `/facts.json`, `/healthz`, `/data-docs/`, and `/metrics` where there are some."""
    app = FastAPI(title="playhead on call", openapi_url=None)
    # A page of the internet that has its name point here must not read it.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOCALHOST, "localhost"])

    @app.get("/")
    def page() -> Response:
        return HTMLResponse(pages.newest.html, headers=_headers(f"{content_policy()}; frame-ancestors 'none'"))

    @app.get("/facts.json")
    def facts() -> Response:
        return Response(pages.newest.json, media_type="application/json", headers=_headers("default-src 'none'"))

    @app.get("/healthz")
    def health() -> Response:
        made = pages.newest
        body = {"ok": not made.failure, "made_at": made.facts.made_at.isoformat(), "failure": made.failure or None}
        return JSONResponse(body, status_code=503 if made.failure else 200, headers=_headers("default-src 'none'"))

    if metrics is not None:

        @app.get("/metrics")
        def exposed() -> Response:
            return Response(metrics(settings), media_type=_METRICS_TYPE, headers=_headers("default-src 'none'"))

    @app.get("/data-docs/{path:path}")
    async def data_docs(path: str, request: Request) -> Response:
        return await _document(settings.home / DATA_DOCS.parent, path, request)

    return app


async def _document(folder: Path, path: str, request: Request) -> Response:
    """A file of the folder, which may come to be while the server runs."""
    if not folder.is_dir():
        return PlainTextResponse(f"{folder} is not there yet: the quality gate writes it.\n", status_code=404)
    found = await StaticFiles(directory=folder, html=True).get_response(path or ".", request.scope)
    found.headers.update(_headers(_DOCS_POLICY))
    return found


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
