"""What checks have told, as problems: many that are wrong alike are one, so that the top of the page stays readable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from playhead.checks import accounts
from playhead.checks.readings import Reading, Standing
from playhead.checks.verdicts import FAILURES
from playhead.lineage import Affected
from playhead.report.facts import Facts
from playhead.report.problem import Item, Problem, Runbook, Stage
from playhead.report.words import age, measured, named, plain

SECTIONS = ("freshness", "quality", "skew", "drift")
"""Checks that have a section of their own."""

DEAD_LETTERS = "dead-letters"
"""The section of what `check accounts` tells: how many records are refused. What does not add up, a rule of the page
tells with all its numbers."""

OTHERS = "checks"
"""The section of all others."""

_STAGES = {accounts.CHECK: Stage.DEAD_LETTERS, "quality": Stage.EVENTS, "drift": Stage.SERVED, "skew": Stage.SKEW}
_RUNBOOK = {
    accounts.CHECK: Runbook.DEAD_LETTERS,
    "quality": Runbook.QUALITY_FAILED,
    "skew": Runbook.SKEW,
    "drift": Runbook.DRIFT,
}
_LATE = {
    "job": Runbook.JOB_NOT_RUNNING,
    "checkpoint": Runbook.CHECKPOINT_OLD,
    "watermark": Runbook.WATERMARK_LAG,
    "lake": Runbook.LAKE_LAG,
    "online": Runbook.ONLINE_LAG,
    "batch": Runbook.BATCH_DAY_MISSING,
    "events": Runbook.NO_EVENTS,
}
"""Part that is late to its place in the runbook."""

_OLD = timedelta(hours=1)


def section_of(check: str) -> str:
    """The part of the page that shows a check.

    >>> section_of("drift"), section_of("shadow_scores")
    ('drift', 'checks')
    """
    if check == accounts.CHECK:
        return DEAD_LETTERS
    return check if check in SECTIONS else OTHERS


def wrong(facts: Facts, check: str | None = None) -> list[Standing]:
    """What is not as it should be, of one check or of all."""
    return [each for each in facts.standings if not each.reading.ok and check in (None, each.reading.check)]


def is_told(facts: Facts, check: str, subject: str, measure: str | None = None) -> bool:
    """Whether a check says that the subject is wrong: then no rule of the page needs to say it again."""
    return any(
        each.reading.subject == subject and measure in (None, each.reading.measure) for each in wrong(facts, check)
    )


def checked_problems(facts: Facts) -> Iterator[Problem]:
    """One for each check and measure with something wrong; one for drift, whose measures are all of the same."""
    told = [each for each in wrong(facts) if each.reading.measure != accounts.ADDS_UP]
    for _, alike in groupby(sorted(told, key=_kind), key=_kind):
        yield _problem(facts, list(alike))


def words_of(reading: Reading, *, with_name: bool = True) -> str:
    """How a reading is, without its subject; with or without the name of its measure.

    >>> words_of(Reading(check="drift", subject="a__b", measure="psi", value=0.31, allowed=0.2, ok=False))
    'psi 0.310, allowed 0.200'
    >>> words_of(Reading(check="freshness", subject="job", measure="running", value=0, ok=False))
    'not running'
    """
    if reading.allowed is None and reading.value == 0:
        return f"not {plain(reading.measure)}" if with_name else "no"
    name = f"{plain(reading.measure)} " if with_name else ""
    allowed = "" if reading.allowed is None else f", allowed {measured(reading.measure, reading.allowed)}"
    return f"{name}{measured(reading.measure, reading.value)}{allowed}"


def _kind(standing: Standing) -> tuple[str, str]:
    """What is told together: of drift all, of quality what is of one table, else what is of one measure."""
    reading = standing.reading
    kinds = {"drift": "", "quality": reading.subject}
    return reading.check, kinds.get(reading.check, _family(reading))


def _family(reading: Reading) -> str:
    """The name of the measure without the part of its subject that it names: `null_rise(track_id)`."""
    return reading.measure.partition("(")[0]


def _part(reading: Reading) -> str:
    return reading.measure.partition("(")[2].removesuffix(")")


def _problem(facts: Facts, alike: Sequence[Standing]) -> Problem:
    check = alike[0].reading.check
    # Where it is told what is wrong, how much is wrong adds nothing.
    told = [each for each in alike if each.reading.measure != FAILURES] or list(alike)
    subjects = tuple(dict.fromkeys(each.reading.subject for each in told))
    return Problem(
        title=_title(check, told, subjects),
        detail=_detail(facts, told),
        section=section_of(check),
        runbook=_runbook(check, subjects),
        stage=_STAGES.get(check),
        since=min((each.since for each in told if each.since), default=None),
        subjects=subjects,
        affected=facts.lineage.together(_affected(facts, each.reading) for each in told),
        items=tuple(_items(told, by_measure=len(subjects) == 1)) if len(told) > 1 else (),
    )


def _title(check: str, told: Sequence[Standing], subjects: Sequence[str]) -> str:
    title = check.replace("_", " ").capitalize()
    if len(told) == 1:
        return f"{title}: {subjects[0]} {words_of(told[0].reading)}"
    if len(subjects) == 1:
        return f"{title}: {subjects[0]} is wrong in {len(told):,} measures"
    many = f"{len(subjects):,} {'features' if all('__' in each for each in subjects) else 'parts'}"
    families = {_family(each.reading) for each in told}
    return f"{title}: {many} are beyond what is allowed" + (f" in {plain(*families)}" if len(families) == 1 else "")


def _runbook(check: str, subjects: Sequence[str]) -> Runbook:
    if check == "freshness":
        return _LATE.get(", ".join(subjects), Runbook.FRESHNESS_MISSED)
    return _RUNBOOK.get(check, Runbook.CHECK_FAILED)


def _detail(facts: Facts, alike: Sequence[Standing]) -> str:
    found = [alike[0].reading.detail] if len(alike) == 1 and alike[0].reading.detail else []
    if alike[0].reading.check == "quality" and (held := facts.held(alike[0].reading.subject)):
        found.append(f"Not published: {named(held)}.")
    measured_at = max(each.at for each in alike)
    if facts.made_at - measured_at > _OLD:
        found.append(f"Measured {age(measured_at, facts.made_at)}.")
    return " ".join(text if text.endswith(".") else f"{text}." for text in found)


def _items(told: Iterable[Standing], *, by_measure: bool) -> Iterator[Item]:
    """One for each subject, or measure of the only one; first what is wrong for longest."""
    found: dict[str, list[Standing]] = {}
    for each in sorted(told, key=lambda each: (each.since or each.at, each.reading.subject, each.reading.measure)):
        found.setdefault(each.reading.measure if by_measure else each.reading.subject, []).append(each)
    for name, own in found.items():
        words = "; ".join(words_of(each.reading, with_name=not by_measure) for each in own)
        yield Item(subject=plain(name) if by_measure else name, words=words, since=own[0].since)


def _affected(facts: Facts, reading: Reading) -> Affected:
    lineage, subject = facts.lineage, reading.subject
    if reading.check == "freshness":
        return _behind(facts, subject)
    if part := _part(reading):
        return lineage.of_part(subject, part)
    # Scores are of a service's model: `service/model`.
    return lineage.of_subject(subject.partition("/")[0])


def _behind(facts: Facts, subject: str) -> Affected:
    """What is behind makes features old: those of the batch layer, or of the stream; the served log makes none."""
    if subject == "batch":
        return facts.lineage.of_subjects(group.name for group in facts.groups if group.kind == "daily")
    if "served" in subject:
        return Affected()
    own = facts.lineage.of_subject(subject)
    return own if own.features else facts.lineage.of_subject("events")
