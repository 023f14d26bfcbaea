"""Flink: a standalone session cluster from the apache-flink wheel, and its command line."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playhead.config import LOCALHOST, FlinkSettings, Settings
from playhead.errors import DependencyError
from playhead.stack.jars import jars_of
from playhead.stack.java import find_java
from playhead.stack.ports import Port
from playhead.stack.process import Command, exclusive
from playhead.stack.server import Server, Unanswered

_PROBE_SECONDS = 3.0
_NAMES = {"FLINK_IDENT_STRING": "playhead", "HOSTNAME": "local"}
_LOG4J = Path(__file__).with_name("flink-log4j2.properties")
_TASK_MANAGER_JAVA = " ".join(
    # Rows die young and state is large tables: a throughput collector, half the heap for the young, and large pages
    # where the system has them, take less than half of the default collector's CPU time.
    (
        "-XX:+UseParallelGC",
        "-XX:NewRatio=1",
        "-XX:MetaspaceSize=160m",
        "-XX:+IgnoreUnrecognizedVMOptions",
        "-XX:+UseTransparentHugePages",
    )
)
_LIGHT_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A client plans one job and ends, and the JobManager of one machine has little to do: both start in half the CPU time
without the optimising compiler."""
_METRICS = (
    "jobmanager:*",
    "jobmanager.job:*",
    "taskmanager.job.task:busyTimeMsPerSecond,backPressuredTimeMsPerSecond,numRecordsInPerSecond",
    "*.Status.JVM.Memory.Heap:*",
    "*.Status.JVM.CPU:*",
)
"""Which of its metrics Flink gives to Prometheus, `scope:names`."""


def job_manager(settings: Settings) -> Server:
    """The JobManager as a part of the stack."""
    flink = settings.flink
    return Server(
        name="jobmanager",
        address=rest_url(flink),
        ports=(
            Port(number=flink.rest_port, setting="flink.rest_port"),
            Port(number=flink.rpc_port, setting="flink.rpc_port"),
        ),
        prepare=lambda: _prepare(settings, "jobmanager"),
        probe=lambda _pid: probe_job_manager(flink),
    )


def task_manager(settings: Settings) -> Server:
    """The TaskManager as a part of the stack. Its ports are any free ones; it is known by its JobManager."""
    flink = settings.flink
    return Server(
        name="taskmanager",
        address=rest_url(flink),
        ports=(),
        prepare=lambda: _prepare(settings, "taskmanager"),
        probe=lambda pid: probe_task_manager(flink, pid),
    )


def rest_url(flink: FlinkSettings) -> str:
    """Where the REST API and the web UI are."""
    return f"http://{flink.host}:{flink.rest_port}/"


def probe_job_manager(flink: FlinkSettings) -> str:
    """Ask for the cluster's overview; say how many jobs run.

    Raises:
        Unanswered: no JobManager answers.
    """
    seen = _get(flink, "overview")
    return f"{seen['jobs-running']} jobs running, {seen['slots-available']} of {seen['slots-total']} slots free"


def probe_task_manager(flink: FlinkSettings, pid: int | None = None) -> str:
    """Ask the JobManager for the TaskManager of this process, or for any when pid is None.

    Raises:
        Unanswered: it is not registered. One that was killed stays in the JobManager's list for a while, so
            only its id tells whether the one that runs now is there.
    """
    ids = [str(each["id"]) for each in _get(flink, "taskmanagers")["taskmanagers"]]
    if not (ids if pid is None else _resource_id(pid) in ids):
        missing = "any TaskManager" if pid is None else _resource_id(pid)
        raise Unanswered(f"the JobManager at {rest_url(flink)} does not know {missing}")
    return f"{len(ids)} registered"


def flink_command(settings: Settings, *arguments: str) -> Command:
    """Flink's own command line, pointed at the settings' cluster.

    Args:
        arguments: as for `flink`: `"run", "-d", "-py", "jobs/stream/playback.py"`, `"list"`, `"stop", JOB_ID`.

    Returns:
        Arguments and environment for `subprocess.run(command.argv, env={**os.environ, **command.env})`.

    Raises:
        DependencyError: Java or the jars are missing.
    """
    write_configuration(settings)
    return Command(argv=[str(_wheel() / "bin" / "flink"), *arguments], env=_environment(settings))


def client_configuration(settings: Settings) -> dict[str, Any]:
    """What a client tells any cluster about itself and its job."""
    flink = settings.flink
    return {
        "rest.address": flink.host,
        "rest.port": flink.rest_port,
        "parallelism.default": flink.parallelism,
        "state.backend.type": "hashmap" if flink.state_backend == "heap" else "rocksdb",
        "execution.checkpointing.incremental": flink.state_backend == "rocksdb",
        "execution.checkpointing.interval": f"{round(flink.checkpoint_interval.total_seconds() * 1000)} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "env.java.opts.all": _java_options(),
        "env.java.opts.client": _LIGHT_JAVA,
        "python.client.executable": sys.executable,
    }


def configuration(settings: Settings) -> dict[str, Any]:
    """The `config.yaml` of the local cluster, for its processes and its clients."""
    flink, folder = settings.flink, settings.home / "flink"
    return (
        client_configuration(settings)
        | {
            "jobmanager.rpc.address": LOCALHOST,
            "jobmanager.rpc.port": flink.rpc_port,
            "jobmanager.bind-host": LOCALHOST,
            "jobmanager.memory.process.size": f"{flink.job_manager_memory_mb}m",
            "rest.bind-address": LOCALHOST,
            "rest.bind-port": str(flink.rest_port),
            "env.java.opts.jobmanager": _LIGHT_JAVA,
            "env.java.opts.taskmanager": _TASK_MANAGER_JAVA,
            "taskmanager.host": LOCALHOST,
            "taskmanager.bind-host": LOCALHOST,
            "taskmanager.numberOfTaskSlots": flink.slots,
            "taskmanager.memory.process.size": f"{flink.task_manager_memory_mb}m",
            # Managed memory is what RocksDB and Python workers use; on the heap backend state needs the heap.
            "taskmanager.memory.managed.fraction": 0.15 if flink.state_backend == "heap" else 0.4,
            "execution.checkpointing.dir": _uri(folder / "checkpoints"),
            "execution.checkpointing.savepoint-dir": _uri(folder / "savepoints"),
            # A TaskManager that is gone is noticed by refused connections, within seconds.
            "heartbeat.interval": "3 s",
            # They start together: by default a TaskManager that was first tries again after ten seconds.
            "cluster.registration.error-delay": "500 ms",
            "io.tmp.dirs": str(folder / "tmp"),
            "web.tmpdir": str(folder / "tmp"),
            "taskmanager.log.path": str(settings.home / "logs" / "taskmanager.log"),
            # Workers must have the packages of this environment.
            "python.executable": sys.executable,
        }
        | _metrics(flink)
    )


def _metrics(flink: FlinkSettings) -> dict[str, Any]:
    """Both processes have one configuration: the first that starts takes the first port."""
    if flink.metrics_port is None:
        return {}
    return {
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prom.port": f"{flink.metrics_port}-{flink.metrics_port + 1}",
        # All of them are 6 MB a scrape: each of some 300 operators has its SQL in every label.
        "metrics.reporter.prom.filter.includes": ";".join(_METRICS),
    }


def write_configuration(settings: Settings) -> None:
    """Write `home/flink/conf`, and link the jars of the wheel and of `jars/flink` into `home/flink/lib`."""
    folder = settings.home / "flink"
    for name in ("conf", "lib", "log", "tmp", "checkpoints", "savepoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with exclusive(folder / "conf.lock"):
        _write(settings, folder)


def _write(settings: Settings, folder: Path) -> None:
    values = (configuration if settings.mode == "local" else client_configuration)(settings)
    # JSON is YAML. One key a line, as Flink's shell scripts read it.
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    _replace(folder / "conf" / "config.yaml", "\n".join(lines) + "\n")
    for name, level in (("log4j-console.properties", "INFO"), ("log4j-cli.properties", "WARN")):
        _replace(folder / "conf" / name, f"rootLogger.level = {level}\n{_LOG4J.read_text()}")
    _link({jar.name: jar for jar in _library(settings)}, folder / "lib")
    # The web UI's log page looks for a name that Flink's scripts make up.
    name = f"flink-{_NAMES['FLINK_IDENT_STRING']}-standalonesession-0-{_NAMES['HOSTNAME']}.log"
    _link({name: settings.home / "logs" / "jobmanager.log"}, folder / "log")


def _link(files: dict[str, Path], folder: Path) -> None:
    """Make the folder hold links to exactly these files."""
    for link in folder.iterdir():
        if link.name not in files:
            link.unlink()
    for name, file in files.items():
        link = folder / name
        if not link.is_symlink() or link.readlink() != file:
            link.unlink(missing_ok=True)
            link.symlink_to(file)


def _prepare(settings: Settings, script: str) -> Command:
    write_configuration(settings)
    run = str(_wheel() / "bin" / f"{script}.sh")
    if script == "jobmanager":
        return Command(argv=[run, "start-foreground"], env=_environment(settings))
    # The script becomes Java by exec, so the id of this shell is the id of the TaskManager.
    named = f'exec "$0" start-foreground -D "taskmanager.resource-id={_resource_id("$$")}"'
    return Command(argv=["bash", "-c", named, run], env=_environment(settings))


def _resource_id(pid: int | str) -> str:
    return f"taskmanager-{pid}"


def _environment(settings: Settings) -> dict[str, str]:
    find_java()
    wheel, folder = _wheel(), settings.home / "flink"
    path = [str(settings.project), str(settings.project / "lambda"), os.environ.get("PYTHONPATH", "")]
    return _NAMES | {
        "FLINK_HOME": str(wheel),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LIB_DIR": str(folder / "lib"),
        "FLINK_OPT_DIR": str(wheel / "opt"),
        "FLINK_PLUGINS_DIR": str(wheel / "plugins"),
        "FLINK_LOG_DIR": str(folder / "log"),
        "FLINK_PID_DIR": str(settings.home / "run"),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }


def _library(settings: Settings) -> list[Path]:
    wheel = _wheel()
    return [*(wheel / "lib").glob("*.jar"), *(wheel / "opt").glob("flink-python-*.jar"), *jars_of(settings, "flink")]


def _wheel() -> Path:
    from importlib.util import find_spec

    spec = find_spec("pyflink")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / "lib").is_dir():
        raise DependencyError("apache-flink is not installed with its libraries", hint="run `make setup`")
    return folder


def _java_options() -> str:
    """The `--add-opens` that the wheel's own configuration has for Java 17."""
    text = (_wheel() / "conf" / "config.yaml").read_text()
    found = re.search(r"^\s+all:\s*(--add-\S.*)$", text, re.MULTILINE)
    if found is None:
        raise DependencyError("the apache-flink wheel has no Java options in conf/config.yaml", hint="run `make setup`")
    return found[1].strip()


def _get(flink: FlinkSettings, path: str) -> dict[str, Any]:
    import httpx

    try:
        # Not through a proxy that the environment may name: the cluster is a neighbour.
        with httpx.Client(trust_env=False, timeout=_PROBE_SECONDS) as client:
            answer = client.get(rest_url(flink) + path)
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
            return body
    except (httpx.HTTPError, ValueError) as error:
        raise Unanswered(f"Flink at {rest_url(flink)} does not answer: {error}") from error


def _uri(path: Path) -> str:
    return "file://" + quote(str(path))


def _replace(path: Path, text: str) -> None:
    """Write at once: a process that starts at the same moment reads all of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
