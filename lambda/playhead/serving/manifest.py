"""What a training set was made of, kept beside it and inside it, so that it can be made again to the byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from playhead.compile import on_demand_meaning
from playhead.declarations import Declarations
from playhead.errors import InputError, UnsupportedError
from playhead.serving.inputs import Inputs, summary
from playhead.serving.spine import columns_of

METADATA_KEY = b"playhead"
"""In the Parquet schema's metadata, what the manifest says that does not name a place on a disk."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a training set was made of.

    Attributes:
        service: a feature service, `<scenario>_v<version>`.
        version: of the scenario; None when the name has none.
        fingerprints: by group and on-demand view, which declaration the values have.
        features: its feature columns.
        defaults: what stands in place of null.
        engine: duckdb or spark, which does not give the same bytes twice.
        cut: as-served or as-corrected.
        inputs: see `playhead.serving.inputs`.
        spine: where the spine was.
        spine_sha256: of its bytes.
        rows: of the spine, and of the set.
        rows_at_once: how many rows a row group has.
    """

    service: str
    version: int | None
    fingerprints: dict[str, str]
    features: list[str]
    defaults: dict[str, Any]
    engine: str
    cut: str
    inputs: Inputs
    spine: str
    spine_sha256: str
    rows: int
    rows_at_once: int

    def metadata(self) -> dict[bytes, bytes]:
        """Of the Parquet schema: the same for a set that is made again, wherever its spine lies."""
        own = asdict(self) | {"inputs": summary(self.inputs)}
        del own["spine"]
        return {METADATA_KEY: json.dumps(own, sort_keys=True).encode()}

    def write(self, output: Path) -> None:
        """Write it beside the output; see `manifest_path`."""
        file = manifest_path(output)
        draft = file.with_name(f".{file.name}.draft")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n")
        draft.replace(file)


def manifest_path(output: Path) -> Path:
    """
    >>> manifest_path(Path("sets/a.parquet")).as_posix()
    'sets/a.parquet.json'
    """
    return output.with_name(f"{output.name}.json")


def read_manifest(path: Path) -> Manifest:
    """What `Manifest.write` has written.

    Raises:
        InputError: a file that is absent or no manifest.
    """
    try:
        return Manifest(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no manifest of a training set: {error}") from error


def declared_as(declarations: Declarations, service: str) -> dict[str, Any]:
    """What a service is now: the manifest's version, fingerprints, features and defaults.

    Raises:
        UnknownName: no such service.
    """
    declared = declarations.service(service)
    version = service.rpartition("_v")[2]
    return {
        "version": int(version) if version.isdecimal() else None,
        "fingerprints": {
            **{group.name: declarations.plan(group.name).fingerprint for group in declared.inputs},
            **{view.name: on_demand_meaning(view) for view in declared.on_demand},
        },
        "features": columns_of(declared),
        "defaults": dict(declared.defaults),
    }


def check_again(manifest: Manifest, declarations: Declarations, spine: Path) -> None:
    """Refuse to make a set again of another declaration or spine.

    Raises:
        UnknownName: the service is not declared any more.
        UnsupportedError: a set that Spark has made.
        InputError: says what differs.
    """
    if manifest.engine != "duckdb":
        raise UnsupportedError(f"a training set of {manifest.engine} cannot be made again to the byte")
    now = declared_as(declarations, manifest.service)
    for name, value in now.items():
        was = getattr(manifest, name)
        if was != value:
            raise InputError(
                f"service {manifest.service!r}: {_difference(name, was, value)} since the training set was made",
                hint="check out the declarations that it was made with",
            )
    if (found := sha256_of(spine)) != manifest.spine_sha256:
        raise InputError(f"{spine}: SHA-256 is {found}, the training set was made of {manifest.spine_sha256}")


def _difference(name: str, was: Any, now: Any) -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        changed = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        return f"{name} of {', '.join(changed)} changed"
    return f"{name} changed"


def sha256_of(file: Path) -> str:
    """Of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
