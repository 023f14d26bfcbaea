"""`report`: one page that says how everything is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Config, Home, settings_of

if TYPE_CHECKING:
    from playhead.config import Settings

Output = Annotated[
    Path | None, typer.Option(help="HTML file to write. [default: HOME/report.html]", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON instead of writing the page.")]
Serve = Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 until Ctrl-C or SIGTERM.")]
PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65_535, help="With --serve. [default: report.port]")
]
Refresh = Annotated[
    float | None,
    typer.Option(
        "--refresh", min=1, metavar="SECONDS", help="With --serve: how often to look. [default: report.refresh]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(report)


def report(
    output: Output = None,
    serve: Serve = False,
    port: PortOption = None,
    refresh: Refresh = None,
    home: Home = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make one page: what is wrong, since when, who is affected and what to do; freshness, counts, checks, the stack.

    It reads the lake and the results of the home, and asks Kafka, Flink and Redis if they run; it changes nothing.
    The page needs no internet. Exit code 0 also when something is wrong: the page says so; 1: it cannot be written.

    \b
    playhead report
    playhead report --serve        # http://127.0.0.1:18090, made anew every 15 s; /metrics, /facts.json, /healthz
    playhead report --json | jq .problems
    """
    if as_json and output:
        raise typer.BadParameter("--json prints the facts: no --output with it")
    if serve and (as_json or output):
        raise typer.BadParameter("--serve writes nothing: no --output and no --json with it")
    if not serve and (port or refresh):
        raise typer.BadParameter("--port and --refresh go with --serve")
    settings = settings_of(home, config)
    if serve:
        _serve(settings, port, refresh)
    else:
        _write(settings, output, as_json=as_json)


def _serve(settings: Settings, port: int | None, refresh: float | None) -> None:
    from playhead.cli.signals import stop_on_signal
    from playhead.metrics import metrics_text
    from playhead.report.server import run_page

    given: dict[str, Any] = {"port": port, "refresh": None if refresh is None else timedelta(seconds=refresh)}
    changed = settings.report.model_copy(update={name: value for name, value in given.items() if value is not None})
    with stop_on_signal() as stop:
        run_page(settings.model_copy(update={"report": changed}), stop, metrics=metrics_text)


def _write(settings: Settings, output: Path | None, *, as_json: bool) -> None:
    from playhead.declarations import load_declarations
    from playhead.report.gather import gather
    from playhead.report.page import to_json, write_page
    from playhead.report.problems import problems_of

    facts = gather(settings, load_declarations())
    if as_json:
        typer.echo(to_json(facts))
        return
    page = write_page(facts, output or settings.home / "report.html")
    for problem in problems_of(facts):
        typer.secho(f"{problem.title}: {problem.detail}", fg=typer.colors.YELLOW, err=True)
    typer.echo(page)
