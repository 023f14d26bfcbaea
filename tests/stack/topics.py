"""Topics of a test's own on the stack that all tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from playhead.config import Settings
from playhead.stack.kafka import create_topics


def own_topics(stack: Settings, home: Path, **flink: Any) -> Settings:
    """The running stack, with topics and a home of the test's own."""
    kinds = ("events", "dead_letter", "replayed", "feature_rows")
    kafka = stack.kafka.model_copy(update={f"{kind}_topic": f"{kind}-{uuid4().hex}" for kind in kinds})
    create_topics(kafka)
    return stack.model_copy(update={"kafka": kafka, "home": home, "flink": stack.flink.model_copy(update=flink)})
