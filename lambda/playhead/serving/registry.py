"""Feast's registry: opened, brought up to the declarations, and refused where it is behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import feast
from feast.errors import FeastObjectNotFoundException
from feast.on_demand_feature_view import OnDemandFeatureView
from sqlalchemy import URL
from sqlalchemy.engine import CreateEnginePlugin
from sqlalchemy.exc import SQLAlchemyError

from playhead.compile import on_demand_meaning
from playhead.config import PROJECT, Settings, load_settings
from playhead.declarations import Declarations
from playhead.errors import InputError
from playhead.serving.online import open_online_store
from playhead.serving.views import FINGERPRINT, FeastObject, feast_objects, tags_of

FEAST_PROJECT = "playhead"
_APPLY = "run `playhead features apply` with the same --home"


@dataclass(frozen=True)
class Applied:
    """What `apply` registered, and what it took out because nothing declares it any more."""

    entities: tuple[str, ...]
    views: tuple[str, ...]
    services: tuple[str, ...]
    removed: tuple[str, ...]


def open_feature_store(settings: Settings, offline: Mapping[str, Any] = MappingProxyType({})) -> feast.FeatureStore:
    """The feature store of a home: its registry, its lake and its Redis.

    It is the store that `feature_repo/feature_store.yaml` describes, without a look at the environment.

    Args:
        settings: whose.
        offline: settings of the offline store, see `playhead.serving.feast_offline.PlayheadOfflineStoreConfig`.

    Raises:
        InputError: there is no registry, or a file that is none.
    """
    if not settings.registry.is_file():
        raise InputError(f"{settings.registry}: there is no registry", hint=_APPLY)
    return _store(settings, offline)


def _store(settings: Settings, offline: Mapping[str, Any] = MappingProxyType({})) -> feast.FeatureStore:
    """The same; the registry is made when it is absent."""
    url = URL.create("sqlite", database=str(settings.registry.absolute()))
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project=FEAST_PROJECT,
            provider="local",
            registry={"registry_type": "sql", "path": url.render_as_string()},
            offline_store={
                "type": "playhead.serving.feast_offline.PlayheadOfflineStore",
                "memory_mb": settings.offline.memory_mb,
                **offline,
            },
            online_store={
                "type": "playhead.serving.feast_online.PlayheadOnlineStore",
                "home": str(settings.home),
                **settings.redis.model_dump(mode="json", exclude={"password"}, exclude_none=True),
            },
            entity_key_serialization_version=3,
        )
    )
    try:
        store.refresh_registry()
    except SQLAlchemyError as error:
        raise InputError(f"{settings.registry}: {error}", hint=f"remove the file, then {_APPLY}") from error
    return store


def apply(settings: Settings, declarations: Declarations) -> Applied:
    """Make the registry hold what is declared, and nothing else. Applying twice changes nothing.

    Raises:
        UnsupportedError: a declaration that Feast cannot hold.
        StackError: a view is to be removed, and Redis, which holds its rows, does not answer.
    """
    settings.registry.parent.mkdir(parents=True, exist_ok=True)
    store = _store(settings)
    objects = feast_objects(declarations, settings)
    sources = [each.batch_source for each in objects if isinstance(each, feast.FeatureView)]
    sources += [s for o in objects if isinstance(o, OnDemandFeatureView) for s in o.source_request_sources.values()]
    declared = {(type(each), each.name) for each in [*objects, *sources]}
    stale = [each for each in _registered(store) if (type(each), each.name) not in declared]
    if any(isinstance(each, feast.FeatureView) for each in stale):
        # Feast forgets a view before it deletes the view's rows: without Redis they would stay for ever.
        with open_online_store(settings.redis):
            pass
    store.apply(objects, objects_to_delete=stale, partial=False)
    return Applied(
        entities=_names(objects, feast.Entity),
        views=_names(objects, feast.FeatureView) + _names(objects, OnDemandFeatureView),
        services=_names(objects, feast.FeatureService),
        removed=tuple(sorted({each.name for each in stale})),
    )


def applied_service(
    store: feast.FeatureStore, settings: Settings, declarations: Declarations, name: str
) -> feast.FeatureService:
    """The registered feature service, after a check that it is the declared one.

    Args:
        store: see `open_feature_store`.
        settings: says where the lake is.
        declarations: what the registry should hold.
        name: of a declared service.

    Raises:
        UnknownName: no such service is declared.
        InputError: the registry does not hold it, or holds it as it was declared before, or for another lake.
    """
    declared = declarations.service(name)
    expected = {o.name: o for o in feast_objects(declarations, settings) if isinstance(o, feast.FeatureView)}
    try:
        service = store.get_feature_service(name)
        views = {group.name: store.get_feature_view(group.name) for group in declared.inputs}
        on_demand = [store.get_on_demand_feature_view(view.name) for view in declared.on_demand]
    except FeastObjectNotFoundException as error:
        raise InputError(f"{settings.registry}: {error}", hint=_APPLY) from error
    for view in views.values():
        _check_view(settings, view, expected[view.name])
    for own, view in zip(on_demand, declared.on_demand, strict=True):
        if own.tags.get(FINGERPRINT) != on_demand_meaning(view):
            raise InputError(
                f"{settings.registry}: on-demand view {own.name!r} was applied before its declaration changed",
                hint=_APPLY,
            )
    now = {view.name: sorted(declared.features_of(view)) for view in declared.views}
    if features_of(service) != now or service.tags != tags_of(declared):
        raise InputError(
            f"{settings.registry}: service {name!r} was applied before its declaration changed", hint=_APPLY
        )
    return service


def features_of(service: feast.FeatureService) -> dict[str, list[str]]:
    """A registered service's features by view, in alphabetical order."""
    return {each.name: sorted(field.name for field in each.features) for each in service.feature_view_projections}


def repo_settings() -> Settings:
    """Settings for programs that Feast starts in a folder of its own, such as `feast apply`.

    The home is `PLAYHEAD_HOME`; without it the nearest `.playhead` at or above the working directory; without that
    `.playhead` in the checkout.
    """
    settings = load_settings()
    if settings.home != Path.cwd() / ".playhead":
        return settings
    above = (folder / ".playhead" for folder in (Path.cwd(), *Path.cwd().parents))
    return load_settings(next((home for home in above if home.is_dir()), PROJECT / ".playhead"))


class HomeRegistry(CreateEnginePlugin):
    """What `?plugin=playhead` in the registry's address means: the registry of `repo_settings()`.

    `feature_store.yaml` cannot say "relative to the home": SQLite takes a path as relative to the working directory,
    which differs between a program and `feast apply`, and Feast knows no default for an environment variable.
    """

    def update_url(self, url: URL) -> URL:
        """The address with the registry's own path."""
        registry = repo_settings().registry.absolute()
        registry.parent.mkdir(parents=True, exist_ok=True)
        return url.set(database=str(registry)).difference_update_query(["plugin"])


def _registered(store: feast.FeatureStore) -> list[FeastObject]:
    entities = [entity for entity in store.list_entities() if entity.name != "__dummy"]
    views = [*store.list_feature_views(), *store.list_on_demand_feature_views()]
    return [*entities, *views, *store.list_feature_services(), *store.list_data_sources()]


def _names(objects: list[FeastObject], kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in objects if isinstance(each, kind))


def _check_view(settings: Settings, got: feast.FeatureView, expected: feast.FeatureView) -> None:
    where = f"{settings.registry}: view {got.name!r}"
    if (got.tags.get(FINGERPRINT), got.ttl) != (expected.tags[FINGERPRINT], expected.ttl):
        raise InputError(f"{where} was applied before its declaration changed", hint=_APPLY)
    if got.batch_source.path != expected.batch_source.path:
        raise InputError(f"{where} reads {got.batch_source.path}, but the lake is {settings.lake}", hint=_APPLY)
