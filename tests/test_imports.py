"""Who may import whom: TensorFlow and OpenGL must not meet, and imports go one way."""

import ast
import functools
import graphlib
import json
import subprocess
import sys

import pytest
from places import ROOT

PACKAGE = ROOT / "clion_tf"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
HEAVY = {"tensorflow", "tensorflow_probability", "keras", "tf_keras"}
# What workers load, what the command line loads before they have started, and what tools load
# before they refuse.
LIGHT = [
    name
    for name in MODULES
    if name.startswith(
        ("clion_tf.envs", "clion_tf.pictures", "clion_tf.replay", "clion_tf.sweep",
         "clion_tf.analysis.curves", "clion_tf.analysis.report")
    )
] + [
    f"clion_tf.{name}"
    for name in (
        "command", "config", "console", "files", "run",
        "analysis.evaluation", "analysis.saved_model", "analysis.theory.bounds",
        "analysis.theory.horizon_figure", "analysis.tool_checks", "analysis.trained_agent",
        "logdir.run_folder", "training.loop",
    )
]  # fmt: skip
# Each may import those above it and itself; a folder stands for all in it.
LAYERS = [
    ["console"],
    ["files"],
    ["config"],
    ["pictures"],
    ["logdir"],
    ["envs"],
    ["replay"],
    ["models"],
    ["learning"],
    ["agents"],
    ["training"],
    ["distributed"],
    ["run", "command"],
    ["analysis"],
    ["sweep", "dreamer"],
    ["benchmark"],
]
# Who has less to know than the layers allow.
STRANGERS = {
    "envs": ["config", "logdir", "pictures"],
    "models": ["envs", "replay", "logdir", "pictures"],
    "learning": ["envs", "replay", "logdir"],
    "agents": ["envs", "logdir"],
    "training.loop": ["models", "learning"],
    "training.run_state": ["models", "learning"],
    "training.update_phase": ["models", "learning"],
    "analysis.curves": ["models", "learning", "agents", "training"],
    "analysis": ["run"],
    "sweep": ["run"],
    "dreamer": ["run"],
    "benchmark": ["run"],
}


@functools.cache
def imports(name):
    """Everything that a module imports, also inside functions, as full dotted names."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_workers_cannot_reach_tensorflow():
    """One interpreter for all modules: what any of them loads would show."""
    code = "import json, sys\n" + "\n".join(f"import {name}" for name in LIGHT)
    code += "\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert not HEAVY & set(json.loads(result.stdout.splitlines()[-1]))


def test_a_command_line_is_there_at_once():
    """What makes images and videos is loaded by workers, and after they have started."""
    code = "import sys, clion_tf.run; print(*sys.modules.keys() & {'scipy', 'PIL', 'imageio'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, b"")


def part_of(name, parts):
    """The one of `parts` that a module is or is in; None if there is none."""
    short = name.removeprefix("clion_tf.")
    found = [part for part in parts if short == part or short.startswith(f"{part}.")]
    return max(found, key=len, default=None)


def test_every_module_has_a_layer():
    known = [part for layer in LAYERS for part in layer]
    assert not [n for n in MODULES if n != "clion_tf" and part_of(n, known) is None]


def test_imports_go_down_the_layers():
    for level, beside in enumerate(LAYERS):
        above = [part for layer in LAYERS[level + 1 :] for part in layer]
        for name in MODULES:
            own = part_of(name, beside)
            for target in imports(name) if own else ():
                assert part_of(target, above) is None, f"{name}: {target}"
                assert part_of(target, beside) in (None, own), f"{name}: {target}"


@pytest.mark.parametrize("who", STRANGERS)
def test_who_must_not_be_known(who):
    for name in MODULES:
        for target in imports(name) if part_of(name, [who]) else ():
            assert part_of(target, STRANGERS[who]) is None, f"{name}: {target}"


def test_no_two_modules_of_one_name():
    names = [name.split(".")[-1] for name in MODULES if not MODULES[name].name == "__init__.py"]
    assert sorted(set(names)) == sorted(names)
    every = {part for name in MODULES for part in name.split(".")}
    assert not {"utils", "util", "common", "misc", "helpers"} & every


def test_no_import_cycles():
    """Also not by imports inside functions."""
    graph = {
        name: {t for t in imports(name) if t in MODULES and MODULES[t].name != "__init__.py"}
        for name in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()
