"""Tables on standard output, progress on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

_FILE_WIDTH = 200


def table(*columns: str) -> Table:
    """A table without lines; without columns, one without a header."""
    from rich.table import Table

    return Table(*columns, box=None) if columns else Table("", "", box=None, show_header=False)


def show(rows: Table) -> None:
    """Print a table: as wide as the terminal, and whole where a file or a mail takes it."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    console.print(rows)


def say(what: str) -> None:
    """Tell what begins."""
    typer.echo(f"… {what}", err=True)
