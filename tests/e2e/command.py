"""The command line as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil


def command(home: Path, *arguments: object) -> list[str]:
    """A command for a home."""
    # The installed script, not `python -c`: there, Spark's import by Great Expectations ends the process silently.
    return [str(Path(sys.executable).with_name("playhead")), *map(str, arguments), "--home", str(home)]


def playhead(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(home, *arguments), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def left_running(home: Path) -> list[str]:
    """Names of processes that know of a home."""
    mark = str(home)
    return [
        p.info["name"] for p in psutil.process_iter(["name", "cmdline"]) if mark in " ".join(p.info["cmdline"] or [])
    ]
