"""What jobs tell a Pushgateway at their end, received over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from playhead.config import MetricsSettings, Settings
from playhead.pushed import PUSHED, pushed
from tests.conftest import free_ports

Told = list[tuple[str, str, dict[str, float]]]


@contextmanager
def gateway(told: Told) -> Iterator[str]:
    """A server that takes what it is told, and its address."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
            told.append((self.command, self.path, {sample.name: sample.value for sample in samples}))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test's own output is enough."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pushed("counting", lambda rows: {"rows": rows})
def count(settings: Settings, rows: int) -> int:
    if rows < 0:
        raise ValueError(f"{rows} rows in {settings.home}")
    return rows


def telling(settings: Settings, address: str | None) -> Settings:
    return settings.model_copy(update={"metrics": MetricsSettings(pushgateway=address)})


def test_a_run_that_succeeds_tells_how_long_it_took_its_figures_and_when(settings: Settings) -> None:
    told: Told = []
    with gateway(told) as address:
        assert count(telling(settings, address), 12) == 12
    [(method, path, figures)] = told
    assert (method, path) == ("POST", "/metrics/job/counting")
    assert figures.keys() == {*PUSHED, "playhead_run_rows"}
    assert (figures["playhead_run_rows"], figures["playhead_run_failed"]) == (12, 0)
    assert figures["playhead_run_success_timestamp_seconds"] <= figures["playhead_run_timestamp_seconds"]
    assert 0 <= figures["playhead_run_seconds"] < 60


def test_a_run_that_fails_leaves_what_the_last_good_one_told(settings: Settings) -> None:
    told: Told = []
    with gateway(told) as address, pytest.raises(ValueError, match="-1 rows"):
        count(telling(settings, address), -1)
    [(method, _, figures)] = told
    # A POST replaces metrics of these names only.
    assert method == "POST"
    assert figures.keys() == {"playhead_run_seconds", "playhead_run_failed", "playhead_run_timestamp_seconds"}
    assert figures["playhead_run_failed"] == 1


def test_a_gateway_that_is_away_is_logged_and_fails_no_run(settings: Settings) -> None:
    [port] = free_ports(1)
    with capture_logs() as logs:
        assert count(telling(settings, f"127.0.0.1:{port}"), 3) == 3
    assert [(entry["event"], entry["job"]) for entry in logs] == [("the Pushgateway was not told", "counting")]


def test_without_a_gateway_nobody_is_told(settings: Settings) -> None:
    with capture_logs() as logs:
        assert count(settings, 3) == 3
    assert logs == []
