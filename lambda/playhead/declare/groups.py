"""Feature groups: features of one entity that change together."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

from playhead.declare.aggregates import (
    SUPPORTED,
    Aggregate,
    Attribute,
    Feature,
    First,
    Last,
    LastK,
    Ratio,
    SessionStart,
    TopK,
    names_of,
)
from playhead.declare.place import declared_at
from playhead.declare.sources import ALLOWED_NAMES, NAME, RESERVED, Dimension, Entity
from playhead.declare.windows import Current, Days, Session, Sliding, Window, kind_of
from playhead.errors import DeclarationError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class FeatureGroup:
    """Features of one entity that change together: one row, one Redis key, one Feast view.

    A row holds until the next; with `ttl` no longer than that after its event timestamp, online and in training sets
    alike: then, and where there never was a row, every feature is null. The description is for people; it changes no
    value and no fingerprint.

    Raises:
        DeclarationError: a bad or repeated name, an unknown feature in a `Ratio`, or windows of different kinds.
    """

    name: str
    entity: Entity
    features: tuple[Feature, ...]
    enrich: tuple[Dimension, ...] = ()
    ttl: timedelta | None = None
    description: str = ""
    declared_at: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "declared_at", declared_at())
        self._check_names()
        self._check_ratios()
        if len({kind_of(w) for w in self.windows}) > 1:
            raise self._error("mixes sliding, session and calendar windows, or attributes: declare a group for each")
        if not self.windows:
            raise self._error("has no windowed feature")
        self._check_attributes()
        self._check_ttl()
        for feature in self.features:
            for window in getattr(feature, "over", self.windows[:1]):
                if type(window) not in SUPPORTED[type(feature)]:
                    self._refuse(feature, window)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window of every feature, repeats included."""
        return tuple(w for f in self.features if isinstance(f, Aggregate | SessionStart | Attribute) for w in f.over)

    @property
    def kind(self) -> type[Sliding] | type[Session] | type[Days] | type[Current]:
        """The kind of all its windows."""
        return kind_of(self.windows[0])

    @property
    def feature_names(self) -> list[str]:
        """Names of the features in order; an aggregate has one for each window (`plays_1m`, `plays_1h`)."""
        return [name for f in self.features for name in names_of(f)]

    def _check_names(self) -> None:
        names = self.feature_names
        for name in (self.name, *names):
            if not NAME.fullmatch(name):
                raise self._error(f"name {name!r}: {ALLOWED_NAMES}")
        for name in sorted({n for n in names if names.count(n) > 1}):
            raise self._error(f"feature {name!r} is declared twice")
        for feature in self.features:
            others = {name for other in self.features if other is not feature for name in names_of(other)}
            if feature.name in others:
                raise self._error(f"{feature.name!r} is the name of two declarations, of one with its window")
        for name in sorted({*names, *(f.name for f in self.features)} & {*RESERVED, self.entity.key}):
            raise self._error(f"name {name!r} is that of a column which every table has", hint="choose another")

    def _check_ratios(self) -> None:
        """Every part of a ratio is a number of the group that stands before it."""
        numbers: list[str] = []
        for feature in self.features:
            if isinstance(feature, Ratio):
                for part in (feature.numerator, feature.denominator):
                    if part not in numbers:
                        problem = f"{feature.name!r} is a ratio of {part!r}, which is no number before it"
                        raise self._error(problem, hint=did_you_mean(part, numbers))
            if not isinstance(feature, First | Last | LastK | TopK):
                numbers += names_of(feature)

    def _check_attributes(self) -> None:
        """Attributes are of one dimension, whose key is the entity's."""
        attributes = [feature for feature in self.features if isinstance(feature, Attribute)]
        for attribute in attributes:
            if attribute.of != attributes[0].of or attribute.of.key != self.entity.key:
                problem = f"{attribute.name!r} is of the dimension {attribute.of.name!r} with key {attribute.of.key!r}"
                raise self._error(problem, hint=f"a group's attributes are of one dimension, by {self.entity.key!r}")
            if attribute.name not in attribute.of.columns:
                problem = f"the dimension {attribute.of.name!r} has no column {attribute.name!r}"
                raise self._error(problem, hint=did_you_mean(attribute.name, attribute.of.columns))

    def _check_ttl(self) -> None:
        if self.ttl is None:
            return
        if self.kind is Days:
            raise self._error("has a ttl, but windows of days are made anew at every moment", hint="leave it out")
        if self.ttl < timedelta(seconds=1) or self.ttl % timedelta(seconds=1):
            raise self._error(f"ttl is {self.ttl}, expected whole seconds, at least one")

    def _refuse(self, feature: Feature, window: Window) -> NoReturn:
        allowed = ", ".join(sorted(w.__name__.lower() for w in SUPPORTED[type(feature)]))
        raise self._error(
            f"has a {type(feature).__name__} over {type(window).__name__.lower()} windows, which no engine computes",
            hint=f"{type(feature).__name__} goes with {allowed} windows",
        )

    def _error(self, problem: str, hint: str | None = None) -> DeclarationError:
        return DeclarationError(f"group {self.name!r} at {self.declared_at}: {problem}", hint=hint)
