"""Reads and writes episodes with the original Dreamer's own functions, in its interpreter.

    PYTHON original_episodes.py CHECKOUT < REQUEST

REQUEST is JSON: `folders`, each with one episode's file; `all`, a folder with all of them;
`save`, a folder to write what was read into, or null; `length`, frames of a sequence. On stdout
comes a line of JSON for each folder, what `describe` says, and one with what it counts in `all`.

Run by path, by the Python 3.8 that the original's TensorFlow needs: so this file imports nothing
of this package and is written for that version. Ours uses `describe`, too.
"""

import hashlib
import importlib
import json
import os
import pathlib
import sys
import types

import numpy as np

KEYS = ("image", "action", "reward", "discount")


def main(checkout):
    """Answers one request."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What the original prints.
    request = json.load(sys.stdin)
    # Not this folder, whose modules have names that others may have, too.
    sys.path[0] = checkout
    sys.modules["gym"] = types.ModuleType("gym")  # For its environments only.
    tools = importlib.import_module("tools")
    for folder in request["folders"]:
        answer, episode = read(tools, pathlib.Path(folder), request["length"])
        if request["save"]:
            target = pathlib.Path(request["save"]) / pathlib.Path(folder).name
            tools.save_episodes(target, [episode])
        out.write(json.dumps(answer) + "\n")
        out.flush()
    episodes, steps = tools.count_episodes(pathlib.Path(request["all"]))
    out.write(json.dumps({"episodes": episodes, "steps": steps}) + "\n")
    out.flush()


def read(tools, folder, length):
    """The folder's only episode, and whether a sequence drawn from it is part of it."""
    episode = next(tools.load_episodes(folder, 1))
    answer = describe(episode)
    # From a shorter one its generator would look for a sequence for ever.
    if answer["frames"] > length:
        drawn = next(tools.load_episodes(folder, 1, length))
        answer["sequence"] = is_part(drawn, episode, length)
    return answer, episode


def describe(episode):
    """{frames, dtypes by key, digest of all values, return}: equal for episodes that are equal.

    Rewards, actions and discounts are compared as float32, which the original may store as
    float16. Other keys than ours, which the original has, are left out.
    """
    total = hashlib.sha256()
    for key in KEYS:
        kind = "uint8" if key == "image" else "float32"
        array = np.ascontiguousarray(np.asarray(episode[key]).astype(kind))
        total.update(f"{key} {array.shape}\n".encode())
        total.update(array.tobytes())
    return {
        "frames": len(episode["reward"]),
        "dtypes": {key: str(episode[key].dtype) for key in KEYS},
        "digest": total.hexdigest(),
        "return": float(np.sum(np.asarray(episode["reward"], "float32"), dtype="float64")),
    }


def is_part(drawn, episode, length):
    """Whether some `length` frames of the episode are those that were drawn."""
    starts = range(len(episode["reward"]) - length + 1)
    return any(
        all(np.array_equal(drawn[k], episode[k][start : start + length]) for k in reversed(KEYS))
        for start in starts
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
