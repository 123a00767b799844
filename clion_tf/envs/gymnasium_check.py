"""What Gymnasium's own checker says; runs in a worker."""

import re
import warnings
from typing import Any

import gymnasium
from gymnasium.utils.env_checker import check_env

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
# What is so by intention: ours has wrappers, and state observations have no bounds.
_EXPECTED = re.compile(
    "different from the unwrapped version|value is -?infinity|low and high|symmetric"
)


def outcomes(env: gymnasium.Env) -> dict[str, dict[str, Any]]:
    """{'bare': …, 'as the agent sees it': …}, each {'error': str, 'notes': [str]}.

    Of the environment as its author wrote it, and of what our wrappers make of it.
    """
    return {"bare": _outcome(env.unwrapped), "as the agent sees it": _outcome(env)}


def _outcome(env: gymnasium.Env) -> dict[str, Any]:
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # Its checks of rendering and closing make the environment again, by its registered
            # name and in each render mode, windows included.
            check_env(env, skip_render_check=True, skip_close_check=True)
        except Exception as failure:
            error = _line(f"{type(failure).__name__}: {failure}")
    notes = dict.fromkeys(_line(str(w.message)) for w in caught if w.category is UserWarning)
    return {"error": error, "notes": [note for note in notes if not _EXPECTED.search(note)]}


def _line(text: str) -> str:
    return " ".join(_COLOUR.sub("", text).replace("WARN:", "").split())
