"""Files of the lake that are finished, and the days that have events."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from playhead.errors import InputError

DAY_FOLDER = "dt="
HOUR_FOLDER = "hour="


def finished_files(folder: Path) -> list[Path]:
    """A folder's files, in order: a name that starts with . or _ is being written, or is no data.

    Flink gives its files no ending.
    """
    found = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part[0] in "._" for part in file.relative_to(folder).parts))


def event_days(lake: Path) -> list[date]:
    """The days that have events, in order.

    Raises:
        InputError: a folder of `lake/events` that is no day.
    """
    return folder_days(lake / "events")


def folder_days(table: Path) -> list[date]:
    """The days of a table of Parquet files in folders by day, in order.

    Raises:
        InputError: a folder that is no day.
    """
    found = []
    for folder in table.glob(f"{DAY_FOLDER}*"):
        try:
            day = date.fromisoformat(folder.name.removeprefix(DAY_FOLDER))
        except ValueError as error:
            raise InputError(f"{folder}: not a day; expected {DAY_FOLDER}YYYY-MM-DD") from error
        if finished_files(folder):
            found.append(day)
    return sorted(found)
