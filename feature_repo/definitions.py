"""The Feast objects of this repo, made from `features/`. Feast collects them from this module's names."""

from playhead.declarations import load_declarations
from playhead.serving.registry import repo_settings
from playhead.serving.views import feast_objects

for declared in feast_objects(load_declarations(), repo_settings()):
    globals()[f"{type(declared).__name__}_{declared.name}"] = declared
