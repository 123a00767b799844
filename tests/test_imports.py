"""Who may import whom: TensorFlow and OpenGL must not meet, and imports go one way."""

import ast
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "clion_tf"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
HEAVY = {"tensorflow", "tensorflow_probability", "keras", "tf_keras"}
# What workers load, or what the command line loads before they have started.
# And what tools load before they refuse.
LIGHT = [
    name
    for name in MODULES
    if name.startswith(("clion_tf.envs", "clion_tf.results", "clion_tf.sweep", "clion_tf.webpage"))
] + [
    f"clion_tf.{name}"
    for name in (
        "checks", "command", "config", "console", "episodes", "evaluation", "export", "files",
        "interaction", "loading", "logdir", "replay", "run", "showing.filming", "showing.pictures",
        "theory.bounds", "theory.horizon_figure", "video",
    )
]  # fmt: skip
# Module or package: what it must not import, though it may import what imports it.
FORBIDDEN = {
    **{
        f"clion_tf.{low}": [
            "agent",
            "assemble",
            "models",
            "learning",
            "dreamer",
            "heldout",
            "train",
        ]
        for low in ("envs", "replay", "episodes", "config", "files", "video", "interaction")
    },
    **{
        f"clion_tf.{low}": ["envs", "train", "config", "agent", "run", "replay", "assemble"]
        for low in ("learning", "models")
    },
    "clion_tf.envs": ["config", "replay", "episodes", "run"],
    "clion_tf.results": ["agent", "models", "learning", "train", "showing", "webpage"],
    "clion_tf.agent": ["envs", "replay", "train", "run", "logger", "interaction"],
    "clion_tf.drq": ["agent", "envs", "replay", "train", "run", "logger", "interaction"],
    "clion_tf.learner": ["agent", "drq", "envs", "replay", "train", "run", "models", "learning"],
    "clion_tf.running": ["train", "updates", "test_phase", "models", "learning", "agent"],
    "clion_tf.updates": ["train", "test_phase", "models", "learning", "agent"],
    "clion_tf.test_phase": ["train", "updates", "models", "learning", "agent"],
    "clion_tf.train": ["models", "learning", "agent"],
}

# What looks at runs; those who make them know nothing of it.
LOOKING = [
    "benchmark",
    "command",
    "dreamer",
    "results",
    "showing.filming",
    "sweep",
    "theory",
    "webpage",
]
for low in (
    "agent",
    "assemble",
    "drq",
    "envs",
    "learning",
    "models",
    "replay",
    "run",
    "train",
    "updates",
):
    FORBIDDEN[f"clion_tf.{low}"] = FORBIDDEN.get(f"clion_tf.{low}", []) + LOOKING


def tree(name):
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(name):
    """Everything that a module imports, also inside functions, as full dotted names."""
    found = set()
    for node in ast.walk(tree(name)):
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


@pytest.mark.parametrize("low", FORBIDDEN)
def test_imports_go_one_way(low):
    members = [name for name in MODULES if name == low or name.startswith(f"{low}.")]
    assert members
    for name in members:
        for target in imports(name):
            for other in FORBIDDEN[low]:
                full = f"clion_tf.{other}"
                assert target != full and not target.startswith(f"{full}."), f"{name}: {target}"


@pytest.mark.parametrize("name", MODULES)
def test_style_of_module(name):
    assert name.split(".")[-1] not in {"utils", "util", "common", "misc", "helpers"}
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}: print"
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"line {node.lineno}: import *"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
