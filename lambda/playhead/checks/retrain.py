"""The retrain trigger: a message when a day has drifted, or a model's validation is not good enough any more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from deltalake import write_deltalake

from playhead.checks import results
from playhead.checks.drift import Drift, reading_of
from playhead.checks.judged import Measurement
from playhead.checks.readings import record
from playhead.config import Settings
from playhead.errors import InputError
from playhead.serving.delta import delta_table
from playhead.serving.notice import send_notice
from playhead.stack.process import exclusive

log = structlog.get_logger()

_SENT = pa.schema(
    [
        ("service", pa.string()),
        ("day", pa.string()),
        ("subject", pa.string()),
        ("measure", pa.string()),
        ("id", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of `lake/checks/retrain`: a row for each reason of a message that the broker has taken."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a model has to be trained again.

    Attributes:
        subject: what drifted, as in `lake/checks/readings`; of an AUC the service.
        measure: what it was measured by; see `playhead.checks.judged.Measurement`, and `auc`.
        value: what was measured.
        allowed: the most that it may be; of an AUC, or of a volume that fell, the least.
        detail: in words.
    """

    subject: str
    measure: str
    value: float
    allowed: float | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """A service whose model has to be trained again, by what is known of a day.

    Attributes:
        reasons: all of them.
        sent: the id of the message that was sent now; None: all reasons have been sent before.
    """

    service: str
    day: date
    reasons: tuple[Reason, ...]
    sent: str | None


def read_auc(path: Path, key: str = "auc") -> float:
    """The validation AUC of a JSON file of metrics.

    Args:
        path: a JSON object.
        key: where in it the AUC is.

    Raises:
        InputError: no such file, no JSON object, or no AUC in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no JSON file of metrics: {error}") from error
    value = found.get(key) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{path}: {key} is {value!r}, expected a number from 0 to 1")
    return float(value)


def judge_auc(
    settings: Settings, service: str, day: date, auc: float, least: float, *, now: datetime | None = None
) -> Measurement:
    """A model's validation AUC beside the least that it may be; added to the history as of a day."""
    found = Measurement(
        measure="auc", value=auc, allowed=least, ok=auc >= least, detail=f"validation AUC {auc:.3f}, at least {least:g}"
    )
    record(settings, [reading_of(day, service, found)], now=now)
    return found


def trigger(
    settings: Settings,
    drift: Drift,
    validation: Mapping[str, Measurement] | None = None,
    *,
    now: datetime | None = None,
) -> list[Due]:
    """Send a message for each service and day with a reason that was not sent for it before.

    A message is JSON: id, service, day, at, and reasons as of `Reason`. It is kept which reasons were sent, after the
    broker has the message: if the run ends between, the next one sends it again, with the same id.

    Args:
        settings: where the lake and Kafka are.
        drift: what was compared.
        validation: service to the AUC of its model; it counts for the newest day.
        now: the moment of the message; the wall clock when None.

    Returns:
        Who has to train again, sent now or before. The same is kept as the result `retrain`.

    Raises:
        StackError: the broker did not take a message.
    """
    at = now or datetime.now(UTC)
    path = settings.lake / "checks" / "retrain"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two runs at once would both send.
    with exclusive(path.parent / ".retrain.lock"):
        due = [
            Due(service=service, day=day, reasons=reasons, sent=_send(settings, path, service, day, reasons, at))
            for (service, day), reasons in _reasons(drift, validation or {}).items()
        ]
    results.save(settings, "retrain", {"due": [payload_of(each) for each in due]}, now=at)
    return due


def payload_of(due: Due) -> dict[str, Any]:
    """As JSON values."""
    return asdict(due) | {"day": due.day.isoformat()}


def _reasons(drift: Drift, validation: Mapping[str, Measurement]) -> dict[tuple[str, date], tuple[Reason, ...]]:
    found: dict[tuple[str, date], list[Reason]] = {}
    for each in drift.compared:
        if each.failed:
            found.setdefault((each.service, each.day), []).extend(_reason(each.subject, one) for one in each.failed)
    for service, measurement in validation.items():
        if not measurement.ok:
            found.setdefault((service, drift.days[-1]), []).append(_reason(service, measurement))
    return {place: tuple(reasons) for place, reasons in sorted(found.items())}


def _reason(subject: str, one: Measurement) -> Reason:
    return Reason(subject=subject, measure=one.measure, value=one.value, allowed=one.allowed, detail=one.detail)


def _send(
    settings: Settings, path: Path, service: str, day: date, reasons: Sequence[Reason], at: datetime
) -> str | None:
    """Send what was not sent before; the message's id, None when there was nothing new."""
    table = delta_table(path)
    before = [] if table is None else table.to_pyarrow_table(filters=_of(service, day)).to_pylist()
    known = {(row["subject"], row["measure"]) for row in before}
    new = [each for each in reasons if (each.subject, each.measure) not in known]
    if not new:
        return None
    what = [service, day.isoformat(), *sorted(f"{each.subject} {each.measure}" for each in new)]
    message = {
        "id": hashlib.sha256("\n".join(what).encode()).hexdigest()[:32],
        "service": service,
        "day": day.isoformat(),
        "at": at.isoformat(timespec="milliseconds"),
        "reasons": [asdict(each) for each in new],
    }
    value = json.dumps(message, allow_nan=False).encode()
    send_notice(settings.kafka, settings.kafka.retrain_topic, service, value)
    shared = {"service": service, "day": day.isoformat(), "id": message["id"], "at": at}
    rows = [shared | {"subject": each.subject, "measure": each.measure} for each in new]
    write_deltalake(path, pa.Table.from_pylist(rows, _SENT), mode="append")
    log.info("retrain", service=service, day=day.isoformat(), reasons=len(new))
    return str(message["id"])


def _of(service: str, day: date) -> list[tuple[str, str, str]]:
    return [("service", "=", service), ("day", "=", day.isoformat())]
