"""Profiles of a day against those of its reference: what was measured, and whether it is beyond what is allowed.

Allowed is what the settings say, and whatever chance alone may bring, which is much where there are few samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from playhead.checks.distributions import Profile, chance_rate, distance
from playhead.objectives import DriftSettings, Measure

VOLUME_DAYS = 7
"""Days with rows that a reference has at least before a day's number of rows is judged: weekdays differ."""

Parts: TypeAlias = Mapping[str, Profile]
"""A subject's profiles by part; they are of the same rows."""

_OF_PSI: Mapping[Measure, float] = MappingProxyType({"psi": 1.0, "kl": 1 / 2, "js": 1 / (8 * math.log(2))})
"""What the distances of two distributions near each other are of their PSI, by the first terms of their series."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One figure of drift.

    Attributes:
        measure: psi, kl, js, null_shift, volume, label_rate; of scores score_psi, score_kl, score_js.
        allowed: the most that it may be; of a volume that fell, the least. None: anything.
        detail: what moved, in words.
    """

    measure: str
    value: float
    allowed: float | None
    ok: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was measured, and why not everything was: empty when it was."""

    measured: tuple[Measurement, ...] = ()
    unjudged: str = ""


def judge_feature(limits: DriftSettings, subject: str, day: Parts, reference: Parts) -> Judged:
    """Values and nulls of a feature."""
    if lacking := _lacking(limits, day, reference, nulls=True):
        return Judged(unjudged=lacking)
    nulls = _nulls(limits, subject, _one(day), _one(reference))
    if lacking := _lacking(limits, day, reference):
        return Judged(measured=(nulls,), unjudged=lacking)
    return Judged(measured=(*_values(limits, subject, day, reference), nulls))


def judge_scores(limits: DriftSettings, subject: str, day: Parts, reference: Parts) -> Judged:
    """Values of a model's scores."""
    if lacking := _lacking(limits, day, reference):
        return Judged(unjudged=lacking)
    return Judged(measured=tuple(_values(limits, subject, day, reference, prefix="score_")))


def judge_label(limits: DriftSettings, subject: str, day: Parts, reference: Parts) -> Judged:
    """How far the rate of a label has moved, of the rows that have it."""
    if lacking := _lacking(limits, day, reference):
        return Judged(unjudged=lacking)
    own, its = _one(day), _one(reference)
    rates = [one.cells.get("true", 0) / one.values for one in (own, its)]
    return Judged(measured=(_moved_rate(limits, subject, "label_rate", rates, (own.valued, its.valued), "true"),))


def judge_volume(limits: DriftSettings, subject: str, rows: int, reference: Sequence[int]) -> Judged:
    """A day's rows over those of the reference's mean day."""
    if len(reference) < VOLUME_DAYS:
        return Judged(unjudged=f"the reference has {len(reference)} days with rows, {VOLUME_DAYS} are needed")
    mean = sum(reference) / len(reference)
    value, most = rows / mean, limits.allowed(subject, "volume")
    allowed = most if most is None or value >= 1 else 1 / most
    ok = most is None or 1 / most <= value <= most
    detail = f"{rows:,} rows, {mean:,.0f} on the reference's mean day"
    return Judged(measured=(Measurement(measure="volume", value=value, allowed=allowed, ok=ok, detail=detail),))


def _one(parts: Parts) -> Profile:
    return next(iter(parts.values()))


def _lacking(limits: DriftSettings, day: Parts, reference: Parts, *, nulls: bool = False) -> str:
    """Why two subjects cannot be compared; empty when they can. The day has at least one part."""
    if not reference:
        return "no reference"
    both = _one(day), _one(reference)
    if both[0].kind != both[1].kind:
        return f"a {both[0].kind}, in the reference a {both[1].kind}"
    samples = [one.samples if nulls else one.valued for one in both]
    if min(samples) < limits.min_samples:
        return f"{samples[0]:.0f} samples, the reference {samples[1]:.0f}; {limits.min_samples} are needed"
    return ""


def _values(
    limits: DriftSettings, subject: str, day: Parts, reference: Parts, prefix: str = ""
) -> Sequence[Measurement]:
    """The distances of the part that is furthest off."""
    far = {part: distance(day[part], reference[part]) for part in day if day[part].values and reference[part].values}
    part = max(far, key=lambda each: far[each].psi - far[each].chance)
    detail = far[part].moved if part == "value" else f"{part}: {far[part].moved}"
    found = []
    for measure, share in _OF_PSI.items():
        value, most = getattr(far[part], measure), limits.allowed(subject, measure)
        allowed = None if most is None else max(most, far[part].chance * share)
        ok = allowed is None or value <= allowed
        found.append(Measurement(measure=prefix + measure, value=value, allowed=allowed, ok=ok, detail=detail))
    return found


def _nulls(limits: DriftSettings, subject: str, day: Profile, reference: Profile) -> Measurement:
    rates, samples = (day.null_rate, reference.null_rate), (day.samples, reference.samples)
    return _moved_rate(limits, subject, "null_shift", rates, samples, "null")


def _moved_rate(
    limits: DriftSettings, subject: str, measure: Measure, rates: Sequence[float], samples: Sequence[float], of: str
) -> Measurement:
    """The difference of two rates: of the day, and of the reference."""
    value, most = rates[0] - rates[1], limits.allowed(subject, measure)
    both = (rates[0] * samples[0] + rates[1] * samples[1]) / sum(samples)
    allowed = None if most is None else max(most, chance_rate(both, *samples))
    detail = f"{rates[0]:.1%} {of}, in the reference {rates[1]:.1%}"
    return Measurement(
        measure=measure, value=value, allowed=allowed, ok=allowed is None or abs(value) <= allowed, detail=detail
    )
