"""The page as a server: what it answers, that it is made anew, and that it ends when it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Event

import httpx
import pytest
from typer.testing import CliRunner

from playhead.cli import app
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import StackError
from playhead.report.facts import Facts
from playhead.report.gather import gather
from playhead.report.server import Metrics, Pages, create_app, run_page
from tests.conftest import free_ports
from tests.homes import NOW
from tests.polling import eventually
from tests.servers import serving_app


@pytest.fixture
def facts(settings: Settings) -> Facts:
    return gather(settings, load_declarations(), now=NOW)


@contextmanager
def page_of(settings: Settings, facts: Facts, metrics: Metrics | None = None) -> Iterator[httpx.Client]:
    """A client of a server of these facts."""
    pages = Pages(settings, lambda: facts, metrics=metrics is not None)
    with serving_app(create_app(settings, pages, metrics)) as client:
        yield client


@pytest.fixture
def client(settings: Settings, facts: Facts) -> Iterator[httpx.Client]:
    with page_of(settings, facts) as client:
        yield client


def test_the_page_may_load_and_run_nothing(client: httpx.Client) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "Nothing found wrong" in answer.text and 'href="/facts.json"' in answer.text


def test_the_facts_without_their_history_and_the_health_are_told(client: httpx.Client) -> None:
    told = client.get("/facts.json").json()
    assert told["problems"] == told["standings"] == []
    assert told["lineage"]["services"]["listener__plays_1h"] == ["listener_v1"]
    assert client.get("/healthz").json() == {"ok": True, "made_at": "2025-03-04T12:00:00+00:00", "failure": None}


def test_metrics_are_there_where_somebody_gives_them(settings: Settings, facts: Facts, client: httpx.Client) -> None:
    assert client.get("/metrics").status_code == 404
    assert "/metrics" not in client.get("/").text
    with page_of(settings, facts, lambda _: b"playhead_up 1\n") as given:
        assert given.get("/metrics").text == "playhead_up 1\n"
        assert 'href="/metrics"' in given.get("/").text


def test_a_name_of_the_internet_that_points_here_is_refused(client: httpx.Client) -> None:
    assert client.get("/facts.json", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/facts.json", headers={"host": "localhost:18090"}).status_code == 200


def test_data_docs_are_served_once_they_are_there_and_nothing_beside_them(
    settings: Settings, facts: Facts, client: httpx.Client
) -> None:
    assert client.get("/data-docs/index.html").status_code == 404
    assert "data-docs" not in client.get("/").text
    docs = settings.home / "data-docs"
    docs.mkdir()
    (docs / "index.html").write_text("<p>expectations</p>")
    (settings.home / "secret.txt").write_text("secret")
    found = client.get("/data-docs/")
    assert found.text == "<p>expectations</p>"
    assert "default-src 'none'" in found.headers["content-security-policy"]
    for path in ("..%2Fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd", "no-such.html"):
        assert client.get(f"/data-docs/{path}").status_code == 404
    with page_of(settings, facts) as anew:
        assert 'href="data-docs/index.html"' in anew.get("/").text


@contextmanager
def kept(pages: Pages) -> Iterator[None]:
    """Pages that are made anew as often as they may be."""
    stop = Event()
    with pages.kept(stop):
        yield
    assert stop.is_set()


def test_the_page_is_made_anew_and_says_when_that_fails(settings: Settings, facts: Facts) -> None:
    often = settings.model_copy(update={"report": settings.report.model_copy(update={"refresh": timedelta(0)})})
    broken, looks = Event(), iter(range(1_000_000))

    def look() -> Facts:
        if broken.is_set():
            raise RuntimeError("the disk is gone")
        return replace(facts, made_at=NOW + timedelta(seconds=next(looks)))

    pages = Pages(often, look)
    with kept(pages), serving_app(create_app(often, pages)) as client:
        assert eventually(lambda: pages.newest.facts.made_at > NOW + timedelta(seconds=1), 20)
        broken.set()
        assert eventually(lambda: client.get("/healthz").status_code == 503, 20)
        assert "the disk is gone" in client.get("/").text
        assert "What is newer than this page cannot be read" in client.get("/").text
        broken.clear()
        assert eventually(lambda: client.get("/healthz").status_code == 200, 20)
        assert "the disk is gone" not in client.get("/").text


def test_the_command_serves_until_it_is_told_to_stop(settings: Settings) -> None:
    (port,) = free_ports(1)
    argv = [sys.executable, "-c", "from playhead.cli import main; main()", "report", "--serve", "--port", str(port)]
    with subprocess.Popen(argv, env={**os.environ, **settings.environment()}, stderr=subprocess.PIPE) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                assert eventually(lambda: process.poll() is not None or answers(client), 60)
                assert client.get("/facts.json").json()["home"] == str(settings.home)
                with pytest.raises(StackError, match=rf"port {port} \(report\.port\) cannot be used"):
                    run_page(on_port(settings, port), Event())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def on_port(settings: Settings, port: int) -> Settings:
    return settings.model_copy(update={"report": settings.report.model_copy(update={"port": port})})


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    return False


@pytest.mark.parametrize(
    "options", [["--serve", "--json"], ["--serve", "--output", "page.html"], ["--port", "18090"], ["--refresh", "5"]]
)
def test_options_that_do_not_go_together_are_refused(options: list[str]) -> None:
    done = CliRunner().invoke(app, ["report", *options])
    assert done.exit_code == 2
