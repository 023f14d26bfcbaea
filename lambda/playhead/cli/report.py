"""`report`: one page that says how everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playhead.cli.options import Config, Home, settings_of

Output = Annotated[
    Path | None, typer.Option(help="HTML file to write. [default: HOME/report.html]", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON instead of writing the page.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(report)


def report(output: Output = None, home: Home = None, config: Config = None, as_json: AsJson = False) -> None:
    """Write one HTML page: what is wrong, counts, freshness, dead letters, quality, skew, and how the stack is.

    It reads the lake and the results of the home, and asks Kafka, Flink and Redis if they run; it changes nothing.
    The page needs no internet. Exit code 0 also when something is wrong: the page says so; 1: it cannot be written.
    """
    if as_json and output:
        raise typer.BadParameter("--json prints the facts: no --output with it")
    from playhead.declarations import load_declarations
    from playhead.report.gather import gather
    from playhead.report.page import to_json, write_page
    from playhead.report.problems import problems_of

    settings = settings_of(home, config)
    facts = gather(settings, load_declarations())
    if as_json:
        typer.echo(to_json(facts))
        return
    page = write_page(facts, output or settings.home / "report.html")
    for problem in problems_of(facts):
        typer.secho(f"{problem.title}: {problem.detail}", fg=typer.colors.YELLOW, err=True)
    typer.echo(page)
