"""The application's declarations, found in its `features` package, with their plans."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from playhead.compile import compile_group
from playhead.declare import Attribute, Dimension, FeatureGroup, FeatureService, OnDemand
from playhead.errors import ConfigError, DeclarationError, UnknownName
from playhead.plan import AttributePlan, DailyPlan, Plan, SpeedPlan, speed_plan

Named = TypeVar("Named", FeatureGroup, FeatureService, Dimension, OnDemand)


@dataclass(frozen=True)
class Declarations:
    """All groups, services and on-demand views of an application.

    >>> load_declarations().group("listener").entity.key
    'user_id'
    """

    groups: tuple[FeatureGroup, ...]
    services: tuple[FeatureService, ...]
    on_demand: tuple[OnDemand, ...] = ()
    quality: Path | None = None
    """The file of hand-written expectations; see `checks.hand_written`."""

    def group(self, name: str) -> FeatureGroup:
        """The group of that name; UnknownName when there is none."""
        return _named("feature group", name, self.groups)

    def on_demand_view(self, name: str) -> OnDemand:
        """The on-demand view of that name; UnknownName when there is none."""
        return _named("on-demand view", name, self.on_demand)

    def service(self, name: str) -> FeatureService:
        """The feature service of that name; UnknownName when there is none."""
        return _named("feature service", name, self.services)

    def plan(self, name: str) -> Plan:
        """The plan of the group of that name."""
        return self._plans[self.group(name).name]

    @property
    def speed_plans(self) -> tuple[SpeedPlan, ...]:
        """Plans that the speed layer runs, one for each group of events, in the order of declaration."""
        return tuple(speed_plan(plan) for plan in self._plans.values() if not isinstance(plan, AttributePlan))

    @property
    def attribute_plans(self) -> tuple[AttributePlan, ...]:
        """Plans whose rows are a dimension's, in the order of declaration."""
        return tuple(plan for plan in self._plans.values() if isinstance(plan, AttributePlan))

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Every dimension that a group names, by name.

        Raises:
            DeclarationError: two of one name.
        """
        found: dict[str, Dimension] = {}
        for group in self.groups:
            for dimension in (*group.enrich, *(f.of for f in group.features if isinstance(f, Attribute))):
                if found.setdefault(dimension.name, dimension) != dimension:
                    raise DeclarationError(f"group {group.name!r}: there are two dimensions {dimension.name!r}")
        return tuple(found[name] for name in sorted(found))

    def dimension(self, name: str) -> Dimension:
        """The dimension of that name; UnknownName when there is none."""
        return _named("dimension", name, self.dimensions)

    @property
    def daily_plans(self) -> tuple[DailyPlan, ...]:
        """Plans that the batch layer runs by day, in the order of declaration."""
        return tuple(plan for plan in self._plans.values() if isinstance(plan, DailyPlan))

    @functools.cached_property
    def _plans(self) -> dict[str, Plan]:
        """Group to its plan, compiled once."""
        return {group.name: compile_group(group) for group in self.groups}


@functools.cache
def load_declarations(package: str = "features") -> Declarations:
    """Import the application's declarations.

    Args:
        package: an importable package with `GROUPS`, `SERVICES` and `ON_DEMAND`, and `QUALITY` if it has expectations
            of its own.

    Raises:
        ConfigError: no such package, or one without these names.
        DeclarationError: from a declaration that is wrong.
    """
    try:
        module = importlib.import_module(package)
        quality = getattr(module, "QUALITY", None)
        return Declarations(tuple(module.GROUPS), tuple(module.SERVICES), tuple(module.ON_DEMAND), quality)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(
            f"declarations: {error}", hint=f"a package {package!r} with GROUPS, SERVICES and ON_DEMAND"
        ) from error


def _named(kind: str, name: str, known: tuple[Named, ...]) -> Named:
    for one in known:
        if one.name == name:
            return one
    raise UnknownName(kind, name, [one.name for one in known])
