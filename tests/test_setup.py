"""The set-up script and the Makefile, as far as they can be tried without changing the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from playhead.config import PROJECT
from tests.conftest import TOGETHER, group_of


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # `make test` hands its own flags down, and a make below it would print the folders it enters.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=PROJECT, env=inherited | environment, capture_output=True, text=True, check=False
    )


def test_a_wrong_java_home_is_named_before_anything_is_changed(tmp_path: Path) -> None:
    done = run("scripts/setup", JAVA_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"setup: JAVA_HOME={tmp_path} is not Java 17 or later. Set it to one, or unset it.\n"


def test_missing_java_says_what_to_install_where_it_may_not_be_installed(tmp_path: Path) -> None:
    for name, script in {"id": "echo 1000", "java": "exit 127"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = run("scripts/setup", PATH=f"{tmp_path}:/usr/bin:/bin", JAVA_HOME="")
    assert done.returncode == 1
    assert "Java 17 is missing. Install it (Debian: sudo apt-get install openjdk-17-jre-headless)" in done.stderr


def test_a_missing_browser_says_what_to_install_where_it_may_not_be_installed(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = run("/bin/bash", "scripts/setup", "browser", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "setup: Chromium is missing. Install it (Debian: sudo apt-get install chromium fonts-liberation), "
        "then run this again.\n"
    )


def test_make_alone_lists_every_target() -> None:
    phony = next(line for line in (PROJECT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    listed = [line.split()[0] for line in run("make").stdout.splitlines()]
    assert listed == phony.split()[1:]


def test_ci_runs_every_test() -> None:
    ci = PROJECT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "make test" in ci.read_text()


def test_files_that_run_in_one_process_are_there() -> None:
    files = [file for together in TOGETHER.values() for file in together]
    assert [file for file in files if not (PROJECT / file).exists()] == []
    assert group_of("tests/stack/test_speed_job.py::test_a") == group_of("tests/test_stack.py::test_b") == "stack"
    assert group_of("tests/e2e/test_demo.py::test_a[made_up]") != group_of("tests/e2e/test_demo.py::test_a[eventsim]")
    assert group_of("tests/test_setup.py::test_made_up") == "tests/test_setup.py"
