"""The local stack: Kafka, Redis and Flink as processes of this machine, under one home directory."""

from playhead.stack.local import PARTS, start, status, stop
from playhead.stack.supervisor import PartStatus

__all__ = ["PARTS", "PartStatus", "start", "status", "stop"]
