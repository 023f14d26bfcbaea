"""Feature services as configuration: a YAML file beside the declarations.

- scenario: home
  version: 2
  features:
    - listener                # a whole group
    - track.plays_1h          # or one of its features
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ibis.expr.datatypes as dt
import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from playhead.compile import compile_group
from playhead.declare import Default, FeatureGroup, FeatureService, OnDemand
from playhead.errors import ConfigError, DeclarationError, UnknownName


class _Service(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    scenario: str = Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
    version: int = Field(ge=1)
    features: list[str] = Field(min_length=1)
    defaults: dict[str, int | float | str | list[str]] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.scenario}_v{self.version}"


def load_services(
    file: Path, groups: Sequence[FeatureGroup], on_demand: Sequence[OnDemand] = ()
) -> tuple[FeatureService, ...]:
    """The services of a file, named `<scenario>_v<version>`: versions of a scenario stand side by side.

    Args:
        file: YAML: a list of scenario, version, features, each of these a group, an on-demand view or
            `group.feature`, and defaults.
        groups: what is declared.
        on_demand: likewise.

    Raises:
        ConfigError: a file that is absent or no YAML, or a field that is missing, unknown or not allowed; it names it.
        UnknownName: a group that is not declared.
        DeclarationError: a feature that its group does not have, or a default that does not fit its type.
    """
    try:
        found = TypeAdapter(list[_Service]).validate_python(yaml.safe_load(file.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{file}: {place}: {first['msg']}, got {first['input']!r}") from error
    names = [service.name for service in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{file}: {name} is there twice", hint="a change of a service is a new version")
    return tuple(_service(service, groups, on_demand) for service in found)


def _service(given: _Service, groups: Sequence[FeatureGroup], on_demand: Sequence[OnDemand]) -> FeatureService:
    known: dict[str, FeatureGroup | OnDemand] = {group.name: group for group in groups}
    known |= {view.name: view for view in on_demand}
    read: dict[str, None] = {}
    for feature in given.features:
        name, _, own = feature.partition(".")
        if name not in known:
            raise UnknownName(f"group in service {given.name!r}", name, known)
        read |= dict.fromkeys([feature] if own else [f"{name}.{each}" for each in known[name].feature_names])
    named = {each.partition(".")[0] for each in read}
    service = FeatureService(
        name=given.name,
        groups=tuple(group for group in groups if group.name in named),
        on_demand=tuple(view for view in on_demand if view.name in named),
        features=tuple(read),
        defaults=given.defaults,
    )
    for feature, value in given.defaults.items():
        name, _, own = feature.partition(".")
        view = known[name]
        kind = dt.dtype(view.features[own]) if isinstance(view, OnDemand) else dict(compile_group(view).schema)[own]
        if not _fits(value, kind):
            raise DeclarationError(f"service {given.name!r}: the default of {feature!r} is {value!r}, expected {kind}")
    return service


def _fits(value: Default, kind: dt.DataType) -> bool:
    if kind.is_array():
        return isinstance(value, list)
    return isinstance(value, int | float if kind.is_floating() else int if kind.is_integer() else str)
