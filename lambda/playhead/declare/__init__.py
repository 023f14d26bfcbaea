"""The language of `features/`: entities, feature groups, features, services. Frozen data; imports no engine.

    listener = FeatureGroup(
        name="listener",
        entity=user,
        features=(
            Count("plays", where=_.event_type == "PLAY", over=sliding("1m", "1h", "1d")),
            Ratio("skip_rate_1h", "skips_1h", "plays_1h"),
        ),
    )

Filters and values are ibis deferred expressions over the columns of `schemas.tables.event_ibis_schema()`.
"""

from __future__ import annotations

from playhead.declare.aggregates import (
    SUPPORTED,
    Aggregate,
    Attribute,
    Count,
    CountDistinct,
    Derived,
    Expression,
    Feature,
    First,
    Last,
    LastK,
    Max,
    Mean,
    Min,
    Ratio,
    SessionStart,
    Sum,
    TopK,
    names_of,
)
from playhead.declare.groups import FeatureGroup
from playhead.declare.services import MOMENT, Default, FeatureService, OnDemand
from playhead.declare.sources import RESERVED, VALID_FROM_MS, Dimension, Entity
from playhead.declare.windows import (
    SECOND,
    Current,
    Days,
    LatestEvents,
    Lifetime,
    Session,
    Sliding,
    Window,
    days,
    kind_of,
    latest,
    lifetime,
    session,
    sliding,
)

__all__ = [
    "MOMENT",
    "RESERVED",
    "SECOND",
    "SUPPORTED",
    "VALID_FROM_MS",
    "Aggregate",
    "Attribute",
    "Count",
    "CountDistinct",
    "Current",
    "Days",
    "Default",
    "Derived",
    "Dimension",
    "Entity",
    "Expression",
    "Feature",
    "FeatureGroup",
    "FeatureService",
    "First",
    "Last",
    "LastK",
    "LatestEvents",
    "Lifetime",
    "Max",
    "Mean",
    "Min",
    "OnDemand",
    "Ratio",
    "Session",
    "SessionStart",
    "Sliding",
    "Sum",
    "TopK",
    "Window",
    "days",
    "kind_of",
    "latest",
    "lifetime",
    "names_of",
    "session",
    "sliding",
]
