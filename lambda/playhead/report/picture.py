"""The picture of the data's way: boxes with counts on a grid, and the arrows between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from playhead.report.facts import Facts, LakeTable
from playhead.report.problem import Stage

WIDTH, HEIGHT = 158, 104
_GAP_X, _GAP_Y = 24, 32

Look = Literal["good", "bad", "none"]


@dataclass(frozen=True, kw_only=True)
class Box:
    """One stage.

    Attributes:
        stage: what it is.
        column: place on the grid, from the left.
        row: place on the grid, from the top.
        number: its count; null when it has not run, or does not answer.
        unit: what is counted.
        note: more, in a few words.
        bad: something of it is wrong.
    """

    stage: Stage
    column: int
    row: int
    number: int | None
    unit: str
    note: str = ""
    bad: bool = False

    @property
    def look(self) -> Look:
        """How it is drawn."""
        if self.bad:
            return "bad"
        return "none" if self.number is None else "good"

    @property
    def absent(self) -> str:
        """What stands in the place of the number."""
        return self.note or "not run yet"

    @property
    def words(self) -> str:
        """What stands under the number."""
        return f"{self.unit}, {self.note}" if self.note else self.unit

    @property
    def x(self) -> float:
        """Left edge."""
        return self.column * (WIDTH + _GAP_X)

    @property
    def y(self) -> float:
        """Upper edge."""
        return self.row * (HEIGHT + _GAP_Y)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Boxes in the order of the data's way, and the SVG paths of the arrows."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]

    @property
    def width(self) -> float:
        """Of the drawing."""
        return max(box.x for box in self.boxes) + WIDTH

    @property
    def height(self) -> float:
        """Of the drawing."""
        return max(box.y for box in self.boxes) + HEIGHT


def draw(facts: Facts, wrong: Collection[Stage | None]) -> Picture:
    """The picture.

    Args:
        facts: what was found.
        wrong: stages with which something is wrong.
    """
    found = sorted((*_input(facts), *_lake(facts), *_online(facts)), key=lambda box: (box.column, box.row))
    boxes = {box.stage: replace(box, bad=box.stage in wrong) for box in found}
    arrows = (_arrow(boxes[start], boxes[end]) for way in _WAYS for start, end in pairwise(way))
    return Picture(boxes=tuple(boxes.values()), arrows=tuple(arrows))


_WAYS = (
    (Stage.REPLAY, Stage.TOPIC, Stage.JOB, Stage.EVENTS, Stage.VIEWS, Stage.TRAINING),
    (Stage.JOB, Stage.ROWS, Stage.ONLINE, Stage.SERVED, Stage.SKEW),
    (Stage.SERVED, Stage.LABELS),
    (Stage.VIEWS, Stage.ONLINE),
    (Stage.JOB, Stage.SESSIONS),
    (Stage.JOB, Stage.DEAD_LETTERS),
)


def _input(facts: Facts) -> Iterator[Box]:
    replay, accounts, kafka = facts.stages.replay, facts.stages.accounts, facts.kafka
    read = f"{replay.rows:,} rows read" if replay and replay.rows else ""
    sent = replay.sent if replay else None
    yield Box(stage=Stage.REPLAY, column=0, row=1, number=sent, unit="records sent", note=read)
    if kafka is not None:
        records, note = kafka.topics.get(facts.topics["events"]), "heartbeats too"
        letters: int | None = kafka.dead_letters.records - kafka.dead_letters.repeated
    elif accounts is not None:
        records, letters, note = accounts.records, sum(accounts.dlq.values()), "when last counted"
    else:
        records, letters, note = None, None, ""
    yield Box(stage=Stage.TOPIC, column=1, row=1, number=records, unit="records", note=note)
    job = facts.flink.job if facts.flink else None
    restarts, state = (job.restarts, job.state.lower()) if job else (None, "not running")
    yield Box(stage=Stage.JOB, column=2, row=1, number=restarts, unit="restarts", note=state)
    yield Box(stage=Stage.DEAD_LETTERS, column=2, row=2, number=letters, unit="records")


def _lake(facts: Facts) -> Iterator[Box]:
    lake, training = facts.lake, facts.stages.training_set
    rows, note = (lake.events.rows, f"{lake.events.late:,} late") if lake.events else (None, "")
    yield Box(stage=Stage.EVENTS, column=3, row=0, number=rows, unit="events", note=note)
    rows, note = _total(lake.views), f"up to {lake.published.dt}" if lake.published else ""
    yield Box(stage=Stage.VIEWS, column=4, row=0, number=rows, unit="rows", note=note)
    rows, note = (training.rows, training.service) if training else (None, "")
    yield Box(stage=Stage.TRAINING, column=5, row=0, number=rows, unit="rows", note=note)
    closed = lake.sessions.rows if lake.sessions else None
    note = "" if lake.open_sessions is None or closed is None else f"{lake.open_sessions:,} open"
    yield Box(stage=Stage.SESSIONS, column=3, row=2, number=closed, unit="sessions", note=note)


def _online(facts: Facts) -> Iterator[Box]:
    lake, writer, skew = facts.lake, facts.stages.writer, facts.stages.skew
    groups = f"{len(lake.speed):,} groups" if lake.speed else ""
    yield Box(stage=Stage.ROWS, column=3, row=1, number=_total(lake.speed), unit="rows", note=groups)
    if facts.online is not None:
        entities = sum(facts.online.values())
        yield Box(stage=Stage.ONLINE, column=4, row=1, number=entities, unit="rows")
    else:
        written = writer.rows.get("written", 0) if writer else None
        yield Box(stage=Stage.ONLINE, column=4, row=1, number=written, unit="rows written")
    yield Box(stage=Stage.SERVED, column=5, row=1, number=_total(lake.served), unit="vectors in the lake")
    differ, note = (skew.mismatches, f"of {skew.values:,}") if skew else (None, "")
    yield Box(stage=Stage.LABELS, column=6, row=0, number=_total(lake.labelled), unit="rows to train on")
    yield Box(stage=Stage.SKEW, column=6, row=1, number=differ, unit="values differ", note=note)


def _total(tables: Mapping[str, LakeTable]) -> int | None:
    return sum(table.rows for table in tables.values()) if tables else None


def _arrow(start: Box, end: Box) -> str:
    """From the right edge to the left one, or down, with its head."""
    if start.column == end.column:
        x = start.x + WIDTH / 2
        return f"M{x:g} {start.y + HEIGHT:g}V{end.y - 1:g}m-4 -5l4 5l4 -5"
    left, right = start.x + WIDTH, end.x - 1
    turn = (left + right) / 2
    return f"M{left:g} {start.y + HEIGHT / 2:g}H{turn:g}V{end.y + HEIGHT / 2:g}H{right:g}m-5 -4l5 4l-5 4"
