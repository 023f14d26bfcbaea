"""What models read: features that are computed when they are asked for, and feature services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from playhead.declare.groups import FeatureGroup
from playhead.declare.place import declared_at
from playhead.declare.sources import ALLOWED_NAMES, NAME
from playhead.errors import DeclarationError, did_you_mean

Default: TypeAlias = int | float | str | list[str]
"""A feature's value where it would be null."""

MOMENT = "moment"
"""The input of an on-demand view that is the moment itself."""

_KINDS = ("int64", "float64", "string")


@dataclass(frozen=True, kw_only=True)
class OnDemand:
    """Features that are computed when they are asked for, from the moment and from other features, by one function.

    The function is called once for a row, with its inputs by the names of their features, and gives every feature of
    the view; a null is None on both sides. It must be pure: online and offline call it with the same values.

        def context(moment: datetime) -> dict[str, int]:
            return {"weekday": moment.isoweekday()}

        OnDemand(name="context", features={"weekday": "int64"}, inputs=(MOMENT,), function=context)

    Attributes:
        name: of the view.
        features: name to type: int64, float64 or string.
        inputs: `group.feature`, without the service's defaults; and `MOMENT`: an aware datetime in UTC, whole seconds.
        of: the groups of the inputs.
        function: see above.
        description: for people.

    Raises:
        DeclarationError: a bad name or type, or an input that the groups do not have.
    """

    name: str
    features: Mapping[str, str]
    inputs: tuple[str, ...]
    of: tuple[FeatureGroup, ...] = ()
    function: Callable[..., Mapping[str, Any]]
    description: str = ""

    def __post_init__(self) -> None:
        known = [MOMENT, *(f"{group.name}.{feature}" for group in self.of for feature in group.feature_names)]
        for each in self.inputs:
            if each not in known:
                raise self._error(f"input {each!r} is not known", hint=did_you_mean(each, known))
        short = [each.rpartition(".")[2] for each in self.inputs]
        for name in (self.name, *self.features):
            if not NAME.fullmatch(name):
                raise self._error(f"name {name!r}: {ALLOWED_NAMES}")
        # Feast takes a feature that is named like an input for that input.
        for name in sorted({*self.features} & {*short} | {name for name in short if short.count(name) > 1}):
            raise self._error(f"{name!r} is the name of two inputs, or of an input and a feature")
        for name, kind in self.features.items():
            if kind not in _KINDS:
                raise self._error(f"feature {name!r} is {kind!r}, expected {' or '.join(_KINDS)}")
        if not self.inputs or not self.features:
            raise self._error("needs at least one input and one feature")

    @property
    def feature_names(self) -> list[str]:
        """Names of its features, in order."""
        return list(self.features)

    def _error(self, problem: str, hint: str | None = None) -> DeclarationError:
        return DeclarationError(f"on-demand view {self.name!r} at {declared_at()}: {problem}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """What one model reads, by name and version (`listener_v1`).

    Attributes:
        name: of the scenario, with the version.
        groups: the feature groups it reads.
        on_demand: the on-demand views it reads. What they are computed from it need not read itself.
        features: of them, those it reads, as `group.feature`; all of them when empty.
        defaults: feature, as `group.feature`, to what stands in place of null, served and in training sets alike.

    Raises:
        DeclarationError: a feature that the groups do not have, a default of one that is not read, or a group of which
            nothing is read.
    """

    name: str
    groups: tuple[FeatureGroup, ...]
    on_demand: tuple[OnDemand, ...] = ()
    features: tuple[str, ...] = ()
    defaults: Mapping[str, Default] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [f"{view.name}.{feature}" for view in self.views for feature in view.feature_names]
        self._check_known("reads", self.features, known)
        self._check_known("has a default for", self.defaults, self.features or known)
        for view in self.views:
            if not self.features_of(view):
                raise DeclarationError(f"service {self.name!r} reads nothing of its group {view.name!r}")

    @property
    def views(self) -> tuple[FeatureGroup | OnDemand, ...]:
        """What it reads: groups, then on-demand views."""
        return (*self.groups, *self.on_demand)

    @property
    def inputs(self) -> tuple[FeatureGroup, ...]:
        """The groups that have to be read for it: its own, and those that on-demand views are computed from."""
        found = {group.name: group for group in (*self.groups, *(g for view in self.on_demand for g in view.of))}
        return tuple(found.values())

    def _check_known(self, what: str, features: Iterable[str], known: Sequence[str]) -> None:
        for feature in features:
            if feature not in known:
                where = "its groups do not have" if what == "reads" else "it does not read"
                problem = f"service {self.name!r} {what} {feature!r}, which {where}"
                raise DeclarationError(problem, hint=did_you_mean(feature, known))

    def features_of(self, view: FeatureGroup | OnDemand) -> list[str]:
        """What it reads of a group or an on-demand view, in the order of the declarations."""
        if view.name not in {own.name for own in self.views}:
            return []
        return [name for name in view.feature_names if not self.features or f"{view.name}.{name}" in self.features]
