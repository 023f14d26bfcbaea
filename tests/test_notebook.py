"""`docs/ml-engineer.ipynb` runs, on a home with data and a real Redis."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from redis import Redis

from playhead.config import PROJECT, Settings
from playhead.days import begin_ms_of
from tests.memory import MemoryRedis
from tests.world import TODAY, listening, world_of


def test_the_notebook_runs_to_its_end(online: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    world, rows = world_of(online, listening()), MemoryRedis()
    for plan in world.declarations.daily_plans:
        world.put_published(rows, plan, begin_ms_of(TODAY))
    for at_ms, packer, entity, values in reversed(world.arriving()):
        # What will fall out of a window after the last event has not yet.
        if at_ms <= world.events[-1]["event_time_ms"] // 1_000 * 1_000 + 1_000:
            rows.put(packer, entity, at_ms, values)
    Redis(**online.redis.client()).mset(rows.rows)
    monkeypatch.setenv("PLAYHEAD_HOME", str(online.home))
    notebook = nbformat.read(PROJECT / "docs" / "ml-engineer.ipynb", as_version=4)
    done = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(PROJECT)}}).execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("features are equal" in str(output.get("data", {})) for output in outputs)
