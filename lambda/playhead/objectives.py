"""What is allowed: the sections of the settings against which checks and the page on call hold their figures."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, TypeAlias

from pydantic import Field

from playhead.section import Section

Measure: TypeAlias = Literal["psi", "kl", "js", "null_shift", "volume", "label_rate"]
"""What drift is measured by; see `playhead.checks.drift`."""


class DriftSettings(Section):
    """When a day is unlike its reference. None: measured only."""

    reference_days: int = Field(default=28, ge=1)
    """Days before a day that it is compared with."""
    min_samples: int = Field(default=50, ge=1)
    """What counts as fewer independent rows, of the day or of the reference, is not judged."""
    max_psi: float | None = Field(default=0.2, ge=0)
    max_kl: float | None = Field(default=None, ge=0)
    """In nats."""
    max_js: float | None = Field(default=None, ge=0, le=1)
    """In bits."""
    max_null_shift: float | None = Field(default=0.05, ge=0, le=1)
    """How far the share of nulls may move."""
    max_volume: float | None = Field(default=2.0, ge=1)
    """How many times as many rows as on the mean day of the reference there may be, or as few."""
    max_label_rate: float | None = Field(default=0.05, ge=0, le=1)
    """How far the share of rows with a label may move."""
    of: dict[str, dict[Measure, float]] = Field(default={})
    """The same of one subject: `view__feature`, a service, a label, `service/model` of scores."""
    min_auc: float | None = Field(default=None, ge=0, le=1)
    """The least AUC of a model's validation before it has to be trained again."""

    def allowed(self, subject: str, measure: Measure) -> float | None:
        """What a measure of a subject may be at most.

        >>> DriftSettings(of={"listener__plays_1h": {"psi": 0.5}}).allowed("listener__plays_1h", "psi")
        0.5
        """
        own: float | None = getattr(self, f"max_{measure}")
        return self.of.get(subject, {}).get(measure, own)


class CheckSettings(Section):
    """What the checks allow."""

    max_skew: float = Field(default=0.0, ge=0, le=1)
    """Share of a feature's values that may differ, those aside whose rows were only on their way."""
    skew: dict[str, float] = Field(default={})
    """The same of one feature, `view__feature`."""
    max_propagation_lag: timedelta = timedelta(seconds=10)
    """How long rows may have been on their way, of 99 of 100 values that differ for it."""
    max_refused: float = Field(default=0.01, ge=0, le=1)
    """Share of the last day's records that may be dead letters."""
    min_volume: float = Field(default=0.5, ge=0, le=1)
    """Share of the usual number of rows that a day, or some hours of it, must have at least."""
    max_volume: float = Field(default=1.7, ge=1)
    """The same at most."""
    max_null_rise: float = Field(default=0.2, ge=0, le=1)
    """By how much an hour's share of nulls in a column may be above the usual share."""
    max_doubled: float = Field(default=0.01, ge=0, le=1)
    """Share of events that may say what another says under another id."""
    min_known: float = Field(default=0.9, ge=0, le=1)
    """Share of events whose key the dimension must know, e.g. the track the catalogue. 0: it need not."""
    drift: DriftSettings = DriftSettings()


class FreshnessSettings(Section):
    """How far each part may be behind. What is above `warn` of that is worth a look."""

    warn: float = Field(default=0.8, gt=0, le=1)
    lake: timedelta = timedelta(minutes=1)
    """From the newest event of the topic back to the newest in the lake, by event time; of traced events, from sending
    to the lake, 99 of 100."""
    online: timedelta = timedelta(seconds=10)
    """From a feature row's record to its write, as the writer measures it; of traced events, from sending to Redis."""
    watermark: timedelta = timedelta(minutes=1)
    """From the newest record of the topic back to the speed job's watermark, by event time."""
    checkpoint: timedelta = timedelta(minutes=1)
    """Since the start of the last completed checkpoint, by the clock."""
    consumer_records: int = Field(default=10_000, ge=0)
    """Records that a consumer group has still to read."""
    batch: timedelta = timedelta(days=2)
    """From the newest event in the lake back to the end of the last published day: longer, and long windows are
    refused."""
    served_log: timedelta = timedelta(minutes=5)
    """From the newest served vector back to the first that has not landed."""
    events: timedelta | None = None
    """Since the newest record of the events topic, by the clock; None in a replay of the past, which is always old."""
