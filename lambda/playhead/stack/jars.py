"""Jars that the engines load: named in `docker/jars/*.xml`, copied by Maven into `jars/`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from playhead.config import Settings
from playhead.errors import DependencyError

_STAMP = "copied.xml"

FOLDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kafka": (),
        "flink": (),
        # Delta's other dependencies are Spark's own, in other versions.
        "delta": ("-DincludeGroupIds=io.delta,io.unitycatalog",),
    }
)
"""Each engine's folder, and what Maven is told besides."""


def jars_of(settings: Settings, engine: str) -> tuple[Path, ...]:
    """The engine's jars, sorted by name.

    Raises:
        DependencyError: they were never copied.
    """
    folder = settings.jars / engine
    jars = tuple(sorted(folder.glob("*.jar")))
    if not jars:
        raise DependencyError(f"no jars in {folder}", hint="run `make setup`")
    return jars


def copy_jars(settings: Settings) -> tuple[str, ...]:
    """Copy what is missing or older than its `docker/jars/ENGINE.xml`; return the engines that were copied.

    Raises:
        DependencyError: Maven is missing or fails.
    """
    stale = tuple(engine for engine in FOLDERS if _stale(settings, engine))
    if stale and shutil.which("mvn") is None:
        raise DependencyError("mvn is not installed", hint="install Maven (Debian: apt-get install maven)")
    for engine in stale:
        _copy(settings, engine)
    return stale


def _pom(settings: Settings, engine: str) -> Path:
    return settings.project / "docker" / "jars" / f"{engine}.xml"


def _stale(settings: Settings, engine: str) -> bool:
    stamp = settings.jars / engine / _STAMP
    return not stamp.is_file() or stamp.read_bytes() != _pom(settings, engine).read_bytes()


def _copy(settings: Settings, engine: str) -> None:
    target, pom = settings.jars / engine, _pom(settings, engine)
    # Beside, then swapped: a copy that breaks off leaves nothing half, and no jar of an older version stays.
    fresh = target.with_name(f"{engine}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
    done = subprocess.run(
        [*command, *FOLDERS[engine]], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise DependencyError(f"Maven could not copy the jars of {pom}:\n{said}", hint="check the network, try again")
    (fresh / _STAMP).write_bytes(pom.read_bytes())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
