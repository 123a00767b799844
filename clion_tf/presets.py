"""Flagfiles by name: `--flagfile=cpu` is the preset `cpu`, from whatever folder.

The rule: a name without a slash that is no file in the working folder is a preset's. Presets are
the files of `flags/`, which an installed copy has in its own folder.
"""

import os
import pathlib

from clion_tf.files import user_path

_PACKAGE = pathlib.Path(__file__).resolve().parent
# An installed copy's, a checkout's.
FOLDER = next((f for f in (_PACKAGE / "flags", _PACKAGE.parent / "flags") if f.is_dir()), _PACKAGE)
_SUFFIX = ".flags"


class PresetError(ValueError):
    """A flagfile that is not there; the message is one line that lists the presets."""


def find(name: str) -> str:
    """The path of the flagfile of that path or name; also of `cpu.flags` for `cpu`.

    Raises:
      PresetError: if there is none.
      PathError: if it begins with a home directory that is not there.
    """
    path = str(user_path(name))
    if "/" not in name and (os.path.isdir(path) or not os.path.exists(path)):
        path = str(FOLDER / f"{name.removesuffix(_SUFFIX)}{_SUFFIX}")
    if not os.path.exists(path):
        raise PresetError(f"no file {name!r}; presets, by name: {', '.join(names())}")
    return path


def names() -> list[str]:
    """Of all presets, in order."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))
