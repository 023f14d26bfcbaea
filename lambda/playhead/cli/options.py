"""Options that every command takes, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from playhead.config import Settings

# The environment's PLAYHEAD_HOME and PLAYHEAD_CONFIG are read by load_settings, for programs as well as for commands.
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything is kept. [default: $PLAYHEAD_HOME or .playhead]", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings file. [default: $PLAYHEAD_CONFIG or HOME/playhead.toml]", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def settings_of(home: Path | None, config: Path | None) -> Settings:
    """The settings of a command's `--home` and `--config`.

    Raises:
        ConfigError: see `playhead.config.load_settings`.
    """
    from playhead.config import load_settings

    return load_settings(home, config)
