"""Settings: one frozen object, read from a TOML file and the environment.

`local` runs everything under one home directory on 127.0.0.1; `cluster` takes addresses and credentials.
A value is looked for in this order: the environment (`PLAYHEAD_KAFKA__PORT=19192`), the file named by
`PLAYHEAD_CONFIG`, `playhead.toml` in the home directory, the default below. Secrets come from the environment only.
"""

from __future__ import annotations

import json
import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from playhead.errors import ConfigError
from playhead.objectives import CheckSettings, FreshnessSettings
from playhead.section import Section

PROJECT = Path(__file__).resolve().parents[2]
"""The checkout that holds `features/`, `jobs/` and `feature_repo/`."""

LOCALHOST = "127.0.0.1"

_SECRETS = {"password", "tokens"}


class KafkaSettings(Section):
    """The broker. In `local` mode it is started on `port`; in `cluster` mode `bootstrap_servers` says where it is."""

    port: int = 19092
    controller_port: int = 19093
    bootstrap_servers: str | None = None
    partitions: int = Field(default=4, ge=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    events_topic: str = "playback-events"
    dead_letter_topic: str = "playback-events.dlq"
    replayed_topic: str = "playback-events.dlq.replayed"
    feature_rows_topic: str = "feature-rows"
    served_topic: str = "served-features"
    retrain_topic: str = "retrain"

    @property
    def servers(self) -> str:
        """`host:port[,host:port…]` of the broker."""
        return self.bootstrap_servers or f"{LOCALHOST}:{self.port}"

    def client(self) -> dict[str, Any]:
        """Settings of a confluent-kafka client (librdkafka's names)."""
        conf: dict[str, Any] = {"bootstrap.servers": self.servers, "security.protocol": self.security_protocol}
        if self.sasl_mechanism:
            conf["sasl.mechanism"] = self.sasl_mechanism
        if self.username:
            conf["sasl.username"] = self.username
        if self.password:
            conf["sasl.password"] = self.password.get_secret_value()
        if self.ca_file:
            conf["ssl.ca.location"] = str(self.ca_file)
        return conf

    def jvm_client(self) -> dict[str, str]:
        """The same settings under the names of the Java client, for Flink."""
        conf = {"bootstrap.servers": self.servers, "security.protocol": self.security_protocol}
        if self.sasl_mechanism:
            conf["sasl.mechanism"] = self.sasl_mechanism
        if self.username and self.password:
            module = (
                "org.apache.kafka.common.security.plain.PlainLoginModule"
                if (self.sasl_mechanism or "PLAIN") == "PLAIN"
                else "org.apache.kafka.common.security.scram.ScramLoginModule"
            )
            user, secret = (_jaas_quote(v) for v in (self.username, self.password.get_secret_value()))
            conf["sasl.jaas.config"] = f"{module} required username={user} password={secret};"
        if self.ca_file:
            conf["ssl.truststore.type"] = "PEM"
            conf["ssl.truststore.location"] = str(self.ca_file)
        return conf


class RedisSettings(Section):
    """The online store: any server that speaks the Redis protocol, or with `cluster` a Redis Cluster, of which host and
    port are any node's."""

    host: str = LOCALHOST
    port: int = 16379
    cluster: bool = False
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    ca_file: Path | None = None

    def client(self) -> dict[str, Any]:
        """Keyword arguments of `redis.Redis`."""
        conf: dict[str, Any] = {"host": self.host, "port": self.port}
        if self.username:
            conf["username"] = self.username
        if self.password:
            conf["password"] = self.password.get_secret_value()
        if self.tls:
            conf["ssl"] = True
        if self.ca_file:
            conf["ssl_ca_certs"] = str(self.ca_file)
        return conf


class FlinkSettings(Section):
    """The speed layer's cluster. `state_backend`: heap while state fits in memory, rocksdb when it does not."""

    host: str = LOCALHOST
    rest_port: int = 18081
    rpc_port: int = 16123
    slots: int = Field(default=2, ge=1)
    parallelism: int = Field(default=1, ge=1)
    state_backend: Literal["heap", "rocksdb"] = "heap"
    checkpoint_interval: timedelta = timedelta(seconds=5)
    task_manager_memory_mb: int = 2560
    job_manager_memory_mb: int = 1024
    metrics_port: int | None = Field(default=None, ge=1, le=65_534)
    """Where Prometheus finds the JobManager's metrics; one above are the TaskManager's. None, the default, is nowhere:
    Flink's reporter listens on every interface, and cannot be told otherwise."""


class StreamSettings(Section):
    """What the speed job promises about time and duplicates."""

    allowed_lateness: timedelta = timedelta(seconds=1)
    """How far behind the newest event of its partition an event may come and still count at once."""
    clock_skew: timedelta = timedelta(minutes=5)
    """How far ahead of the clock an event may be stamped before it is dead-lettered."""
    dedupe_ttl: timedelta = timedelta(days=1)
    """How long an event_id is remembered, in processing time."""
    max_message_bytes: int = 65_536


class SparkSettings(Section):
    """The batch layer's session."""

    master: str = "local[2]"
    driver_memory: str = "2g"
    shuffle_partitions: int = 4


class OfflineSettings(Section):
    """Training sets. `engine`: duckdb on one machine, spark past it."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    memory_mb: int = Field(default=4096, ge=64)
    """What DuckDB holds before it spills to disk."""
    rows_at_once: int = Field(default=1_000_000, ge=1)
    """Rows of the spine that are joined and held at once; every such slice reads the lake anew."""


class ServeSettings(Section):
    """The feature server and the metrics of the long-running processes."""

    host: str = LOCALHOST
    port: int = 18080
    workers: int = Field(default=1, ge=1)
    """Processes that share the port."""
    budget: timedelta = Field(default=timedelta(milliseconds=50), gt=timedelta())
    """How long a request waits for the online store before it is answered without."""
    tokens: tuple[SecretStr, ...] = ()
    """Any of them lets a client in; several while one takes another's place. Without any, everybody on this machine."""
    writer_metrics_port: int = 18091


class ReportSettings(Section):
    """The page on call, `playhead report --serve`, on this machine alone."""

    port: int = 18090
    refresh: timedelta = Field(default=timedelta(seconds=15), ge=timedelta(seconds=1))
    """How often everything is asked and the page made anew."""


class MetricsSettings(Section):
    """Prometheus: what `playhead metrics` serves, and what jobs and checks tell."""

    port: int = 18092
    pushgateway: str | None = None
    """`host:port` or URL of a Pushgateway that jobs and checks tell at their end how they went; None tells nobody."""
    writer: str | None = None
    """`host:port` of the online writer's metrics; None is `serve.writer_metrics_port` of `serve.host`."""


class Settings(BaseSettings):
    """All settings.

    >>> Settings(home=Path("/tmp/x")).lake.as_posix()
    '/tmp/x/lake'
    >>> Settings(home=Path("/tmp/x"), kafka=KafkaSettings(port=1)).kafka.servers
    '127.0.0.1:1'
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="PLAYHEAD_", env_nested_delimiter="__", env_ignore_empty=True
    )

    mode: Literal["local", "cluster"] = "local"
    home: Path = Path(".playhead")
    project: Path = PROJECT
    lake_path: Path | None = None
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    flink: FlinkSettings = FlinkSettings()
    stream: StreamSettings = StreamSettings()
    spark: SparkSettings = SparkSettings()
    offline: OfflineSettings = OfflineSettings()
    serve: ServeSettings = ServeSettings()
    checks: CheckSettings = CheckSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    metrics: MetricsSettings = MetricsSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("home", "project", "lake_path")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Engines run in other working directories."""
        return path and path.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before what a file gave as arguments."""
        return env_settings, init_settings

    def environment(self) -> dict[str, str]:
        """These settings as PLAYHEAD_* variables, secrets included, for a process that is to have the same.

        >>> Settings(home=Path("/x"), kafka=KafkaSettings(password=SecretStr("s"))).environment()["PLAYHEAD_HOME"]
        '/x'
        """
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"PLAYHEAD_{name.upper()}": _as_json(value) if isinstance(value, BaseModel) else str(value)
            for name, value in sections.items()
            if value is not None
        }

    @property
    def lake(self) -> Path:
        """Root of the lake: `events/`, `sessions/`, `speed/`, `daily/`, `views/`, `served/`, `labelled/`,
        `scores/`, `checks/`."""
        return self.lake_path or self.home / "lake"

    @property
    def jars(self) -> Path:
        """Jars copied by `make setup`: one folder per engine (`kafka`, `flink`, `delta`)."""
        return self.project / "jars"

    @property
    def registry(self) -> Path:
        """Feast's SQLite registry."""
        return self.home / "registry.db"


def load_settings(home: Path | None = None, file: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        home: the home directory; `PLAYHEAD_HOME`, then `.playhead` in the working directory, when None.
        file: a TOML file; `PLAYHEAD_CONFIG`, then `playhead.toml` in the home directory, when None.

    Raises:
        ConfigError: a file that cannot be read, an unknown setting, or a value that is not allowed. It names the
            places that were looked at.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith("PLAYHEAD_")}
    root = (home or Path(environment.get("PLAYHEAD_HOME", ".playhead"))).expanduser().absolute()
    named = file or (Path(environment["PLAYHEAD_CONFIG"]) if "PLAYHEAD_CONFIG" in environment else None)
    path = named or root / "playhead.toml"
    if named is not None and not path.is_file():
        raise ConfigError(f"settings file {path} does not exist", hint="see --config and PLAYHEAD_CONFIG")
    values = _read_file(path) if path.is_file() else {}
    looked = f"looked at {', '.join([f'{path}' if path.is_file() else f'{path} (absent)', *sorted(environment)])}"
    known = {f"PLAYHEAD_{name.upper()}" for name in Settings.model_fields} | {"PLAYHEAD_CONFIG"}
    if unknown := sorted(name for name in environment if name.partition("__")[0].upper() not in known):
        raise ConfigError(f"settings: {', '.join(unknown)}: no such setting", hint=looked)
    try:
        # The home given by the caller wins over PLAYHEAD_HOME, which the environment source would put first.
        return Settings(**values).model_copy(update={"home": root})
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors()))
        raise ConfigError(f"settings: {problems}", hint=looked) from error
    except SettingsError as error:
        raise ConfigError(f"settings: {error}", hint=looked) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if "home" in values:
        raise ConfigError(f"{path}: home is not read from a file", hint="use --home or PLAYHEAD_HOME")
    for section, secret in (("kafka", "password"), ("redis", "password"), ("serve", "tokens")):
        if isinstance(values.get(section), dict) and secret in values[section]:
            raise ConfigError(
                f"{path}: {section}.{secret}: secrets are read from the environment only",
                hint=f"set PLAYHEAD_{section.upper()}__{secret.upper()}",
            )
    return values


def _problem(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    got = "" if _SECRETS & {*error["loc"]} else f" (got {error['input']!r})"
    return f"{place}: {error['msg']}{got}"


def _as_json(section: BaseModel) -> str:
    return json.dumps({name: _plain(value) for name, value in section if value is not None}, default=to_jsonable_python)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _jaas_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
