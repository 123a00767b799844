"""Logdirs with options and metrics, without a run."""

import json
import pathlib

from clion_tf.config import Config, parse, to_flagfile

FLAGS = pathlib.Path(__file__).resolve().parents[1] / "flags"


def options(*names: str, **others) -> Config:
    """Of flagfiles, by name, and single flags."""
    files = [f"--flagfile={FLAGS / name}.flags" for name in names]
    return parse([*files, *(f"--{name}={value}" for name, value in others.items())])


def make_run(folder: pathlib.Path, test, train=(), config: Config | None = None) -> pathlib.Path:
    """A run with these {step: return}; without options as the original Dreamer's."""
    folder.mkdir(parents=True)
    lines = [{"step": x, "train/return": y, "episodes": 1} for x, y in dict(train).items()]
    lines += [{"step": x, "test/return": y} for x, y in dict(test).items()]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if config is not None:
        (folder / "run.flags").write_text(to_flagfile(config))
    return folder
