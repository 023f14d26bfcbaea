"""Feast's way to the online store.

In `feature_store.yaml`:

    online_store:
      type: playhead.serving.feast_online.PlayheadOnlineStore

A view of a feature group reads and writes the rows that the online writer and the server know. Any other view has rows
of its own in the same store.
"""

from __future__ import annotations

import functools
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import ibis
import orjson
import structlog
from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore as FeastOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import FeastConfigBaseModel
from feast.utils import make_tzaware

from playhead.config import RedisSettings, load_settings
from playhead.declarations import load_declarations
from playhead.errors import ConfigError, UnsupportedError
from playhead.serving.online import OnlineStore, connect
from playhead.serving.online_merge import online_group, row_groups
from playhead.serving.packed import Packer, Value
from playhead.serving.reading import Group, PlainGroup, Status, read_groups
from playhead.serving.registry import repo_settings
from playhead.serving.views import FINGERPRINT, empty_value, is_merged, merged_plan

log = structlog.get_logger()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_TYPES = MappingProxyType(
    {
        "INT64": ("int64", "int64_val"),
        "INT32": ("int64", "int32_val"),
        "BOOL": ("int64", "bool_val"),
        "UNIX_TIMESTAMP": ("int64", "unix_timestamp_val"),
        "DOUBLE": ("float64", "double_val"),
        "FLOAT": ("float64", "float_val"),
        "STRING": ("string", "string_val"),
        "STRING_LIST": ("array<string>", "string_list_val"),
    }
)
"""Feast's value type: how it is packed, and where it stands in Feast's message."""


class PlayheadOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """Where the store is; what is not given comes from the settings of the home. The password is the environment's."""

    type: Literal["playhead.serving.feast_online.PlayheadOnlineStore"] = (
        "playhead.serving.feast_online.PlayheadOnlineStore"
    )
    home: str | None = None
    host: str | None = None
    port: int | None = None
    username: str | None = None
    tls: bool | None = None
    cluster: bool | None = None
    ca_file: str | None = None


class PlayheadOnlineStore(FeastOnlineStore):  # type: ignore[misc]
    """Packed rows in Redis, as a Feast online store: the newest event timestamp wins, an equal one replaces."""

    def __init__(self) -> None:
        self._connected: OnlineStore | None = None

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, ValueProto] | None]]:
        """One (event timestamp, feature to value) per entity key, in order.

        Where there is no row the timestamp is None, and so are the values, but for features of an empty window. Windows
        of days are merged as of now.
        """
        names = _value_fields(table)
        wanted = requested_features or list(names)
        entities = [_entity(key) for key in entity_keys]
        (found,), _ = read_groups(self._store(config), [(_group(table), entities)], time.time)
        for status in (Status.REFUSED, Status.STALE):
            if count := int((found.status == status).sum()):
                log.warning("rows not read", view=table.name, status=status.name.lower(), entities=count)
        lists = [found.columns[name].to_list() for name in wanted]
        rows = zip(found.stamps.to_list(), *lists, strict=True)
        # What was never written and has no value of an empty window is no answer to Feast.
        return [
            (None, None)
            if stamp is None and all(value is None for value in values)
            else (
                None if stamp is None else _EPOCH + stamp * _MILLISECOND,
                {name: _to_proto(names[name], value) for name, value in zip(wanted, values, strict=True)},
            )
            for stamp, *values in rows
        ]

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write (entity key, feature to value, event timestamp, created timestamp); naive timestamps are UTC.

        Not of windows of days: what they are merged from is published by the batch layer, and nobody would read this.
        """
        if is_merged(table):
            log.warning("not written: windows of days are published by `playhead batch run`", view=table.name)
            if progress:
                progress(len(data))
            return
        packer = _packer(table)
        rows = (
            (_entity(key), packer.pack(_milliseconds(at), {name: _from_proto(value) for name, value in values.items()}))
            for key, values, at, _ in data
        )
        written = self._store(config).write(packer.name, rows, keep=table.ttl or None)
        if written.ignored:
            log.info("older rows ignored", view=table.name, rows=written.ignored)
        if progress:
            progress(len(data))

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Delete the rows of views that are no more."""
        self._delete(config, tables_to_delete)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete the rows of these views, and of no other."""
        self._delete(config, tables)

    def _delete(self, config: RepoConfig, tables: Sequence[FeatureView]) -> None:
        for table in tables:
            groups = row_groups(table.name) if is_merged(table) else (table.name,)
            rows = sum(self._store(config).delete(group) for group in groups)
            log.info("rows deleted", view=table.name, rows=rows)

    def _store(self, config: RepoConfig) -> OnlineStore:
        if self._connected is None:
            given: PlayheadOnlineStoreConfig = config.online_store
            settings = load_settings(Path(given.home)) if given.home else repo_settings()
            update = given.model_dump(include=set(RedisSettings.model_fields), exclude_none=True)
            self._connected = connect(RedisSettings(**settings.redis.model_dump() | update))
        return self._connected


def _group(view: FeatureView) -> Group:
    plan = merged_plan(view)
    if plan is not None:
        return _online_merge(plan.name, plan.fingerprint)
    empty = {field.name: empty_value(field) for field in view.features}
    known = {name: value for name, value in empty.items() if value is not None}
    return PlainGroup(_packer(view), known, view.ttl or None)


@functools.lru_cache(maxsize=1024)
def _online_merge(name: str, _fingerprint: str) -> Group:
    return online_group(load_declarations().plan(name))


def _packer(view: FeatureView) -> Packer:
    schema = tuple(sorted((field.name, _type_of(view, field)[0]) for field in view.features))
    return _compiled(view.name, schema, view.tags.get(FINGERPRINT, ""))


@functools.lru_cache(maxsize=1024)
def _compiled(name: str, schema: tuple[tuple[str, str], ...], tag: str) -> Packer:
    types = [(feature, ibis.dtype(kind)) for feature, kind in schema]
    return Packer(name, types, _fingerprint(name, schema, tag))


def _fingerprint(name: str, schema: tuple[tuple[str, str], ...], tag: str) -> str:
    """The group's own, from the tag or from the declaration that looks the same; else one of the view's shape."""
    if re.fullmatch("[0-9a-f]{16}", tag):
        return tag
    try:
        groups = load_declarations()
    except ConfigError:  # a Feast repository without declarations: all its views are its own
        groups = None
    if groups is not None and name in {group.name for group in groups.groups}:
        plan = groups.plan(name)
        if tuple(sorted((feature, str(dtype)) for feature, dtype in plan.schema)) == schema:
            return plan.fingerprint
    return hashlib.sha256(repr((name, schema)).encode()).hexdigest()[:16]


def _value_fields(view: FeatureView) -> dict[str, str]:
    return {field.name: _type_of(view, field)[1] for field in view.features}


def _type_of(view: FeatureView, field: Any) -> tuple[str, str]:
    name = field.dtype.to_value_type().name
    if name not in _TYPES:
        raise UnsupportedError(
            f"feature {field.name!r} of view {view.name!r} is {field.dtype}, which the online store cannot keep",
            hint=f"it keeps {', '.join(_TYPES)}",
        )
    return _TYPES[name]


def _entity(key: EntityKey) -> str:
    """The entity in the row's key: the join key's value; of several a JSON array, in the order of their names."""
    values = {name: _from_proto(value) for name, value in zip(key.join_keys, key.entity_values, strict=True)}
    ordered = [value for _, value in sorted(values.items())]
    return str(ordered[0]) if len(ordered) == 1 else orjson.dumps(ordered).decode()


def _from_proto(message: ValueProto) -> Any:
    field = message.WhichOneof("val")
    if field is None or field == "null_val":
        return None
    value = getattr(message, field)
    return list(value.val) if field.endswith("_list_val") else value


def _to_proto(field: str, value: Value) -> ValueProto:
    message = ValueProto()
    if isinstance(value, list):
        part = getattr(message, field)
        part.SetInParent()  # an empty list is not null
        part.val.extend(value)
    elif value is not None:
        setattr(message, field, value)
    return message


def _milliseconds(at: datetime) -> int:
    aware: datetime = make_tzaware(at)
    return (aware - _EPOCH) // _MILLISECOND
