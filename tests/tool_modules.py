"""The scripts in `tools/` as modules."""

import functools
import importlib.util
import types

from places import ROOT


@functools.cache
def tool(name: str) -> types.ModuleType:
    """The module of a script in `tools/`."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
