"""The Java that runs Kafka and Flink."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from playhead.errors import DependencyError

_OLDEST = 17
_HINT = f"install Java {_OLDEST} (Debian: apt-get install openjdk-{_OLDEST}-jre-headless) or run `make setup`"


def find_java() -> str:
    """Path of a Java of version 17 or later: of `JAVA_HOME`, else of the `PATH`, as Flink's own scripts choose.

    Raises:
        DependencyError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).is_file():
        raise DependencyError(f"java is not installed: {java or 'not on PATH, and JAVA_HOME is not set'}", hint=_HINT)
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', printed)
    if version is None or int(version[1]) < _OLDEST:
        first = next(iter(printed.splitlines()), "no version printed")
        raise DependencyError(f"{java} is too old or broken: {first}", hint=_HINT)
    return java
