"""The scripts in `tools/` as modules."""

import functools
import importlib.util
import pathlib
import types

ROOT = pathlib.Path(__file__).resolve().parents[1]


@functools.cache
def tool(name: str) -> types.ModuleType:
    """The module of a script in `tools/`."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
