"""Gymnasium's own checker in a process of its own: `python -m clion_tf.envs.gymnasium_check FILE`.

The EnvSpec comes pickled on stdin; the outcome goes to FILE as JSON. It looks at the bare
environment, as its author wrote it, and at the one that the agent sees.
"""

import dataclasses
import json
import pathlib
import pickle
import re
import sys
import warnings
from collections.abc import Callable

import gymnasium
from gymnasium.utils.env_checker import check_env

from clion_tf.envs import make_env
from clion_tf.envs.env_spec import EnvSpec

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
# What is so by intention: ours has wrappers, and state observations have no bounds.
_EXPECTED = re.compile(
    "different from the unwrapped version|value is -?infinity|low and high|symmetric"
)


def check(spec: EnvSpec) -> dict[str, dict]:
    """{'bare': …, 'as the agent sees it': …}, each {'error': str, 'notes': [str]}."""
    return {
        "bare": _outcome(lambda: make_env.simulator(spec).unwrapped),
        # A number of its own, for what the first one may not have given back.
        "as the agent sees it": _outcome(lambda: make_env.make(_next(spec))),
    }


def _next(spec: EnvSpec) -> EnvSpec:
    return dataclasses.replace(spec, index=spec.index + 1)


def _outcome(construct: Callable[[], gymnasium.Env]) -> dict:
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            env = construct()
            # Its checks of rendering and closing make the environment again, by its registered
            # name and in each render mode, windows included.
            check_env(env, skip_render_check=True, skip_close_check=True)
            env.close()
        except Exception as failure:
            error = _line(f"{type(failure).__name__}: {failure}")
    notes = dict.fromkeys(_line(str(w.message)) for w in caught if w.category is UserWarning)
    return {"error": error, "notes": [note for note in notes if not _EXPECTED.search(note)]}


def _line(text: str) -> str:
    return " ".join(_COLOUR.sub("", text).replace("WARN:", "").split())


def main(arguments: list[str]) -> None:
    spec = pickle.load(sys.stdin.buffer)
    pathlib.Path(arguments[1]).write_text(json.dumps(check(spec)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv)
