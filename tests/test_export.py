"""Exported policies act as the agent does, in a process that never sees clion_tf."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from test_loading import frames, save_run

import clion_tf
from clion_tf import command, export
from clion_tf.noise import key

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "tools" / "export_policy.py"


def load_tool():
    spec = importlib.util.spec_from_file_location("export_policy_tool", SCRIPT)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


tool = load_tool()


def run(*words):
    return command.run("export_policy", tool.main, words)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    save_run(folder, (1000, 2000))
    return folder


def agents_actions(trained, images, episode=2):
    """[T, N, A] for images [T, N, 64, 64, 3], as the agent's policy gives them."""
    state, actions = trained.agent.initial(images.shape[1]), []
    for step, image in enumerate(images):
        action, state = trained.agent.policy(
            {"image": image},
            state,
            (episode, step),
            training=False,
            amount=trained.config.eval_noise,
        )
        actions.append(action)
    return np.stack(actions)


def exports_actions(module, images, seed=0, episode=2):
    """The same from `initial` and `act`."""
    state, actions = module.initial(images.shape[1]), []
    for step, image in enumerate(images):
        state = module.act(image, key(seed, "test", episode, step), **state)
        actions.append(state["action"].numpy())
    return np.stack(actions)


@pytest.mark.parametrize(
    "options",
    [
        {"eval_action": "densest"},
        {"eval_action": "sample", "eval_noise": 0.3, "precision": "bf16", "seed": 5},
        {"eval_action": "sample", "discrete": True, "actions": 3, "eval_noise": 0.5},
    ],
    ids=["densest", "sample with noise in bf16", "discrete with noise"],
)
def test_module_acts_as_the_agent(tmp_path, options):
    save_run(tmp_path / "run", (1000,), **options)
    trained = clion_tf.load(tmp_path / "run", device="cpu")
    module = export.policy_module(trained.agent, trained.config.eval_noise)
    images = frames(12).reshape(4, 3, 64, 64, 3)
    one, seed = images[:, :1], trained.config.seed
    expected = agents_actions(trained, one)
    assert np.array_equal(exports_actions(module, one, seed), expected)
    assert not np.array_equal(exports_actions(module, one, seed + 1), expected)
    assert np.array_equal(exports_actions(module, images, seed), agents_actions(trained, images))


FRESH = """
import sys
{code}
assert not {{"clion_tf", "tensorflow_probability", "tf_keras"}} & set(sys.modules)
signature = model.signatures["act"]
first = model.signatures["initial"](batch=tf.constant(3))
images = np.load("images.npy")
state = signature(image=tf.constant(images), seed=tf.constant([1, 2]), **first)
np.savez("found.npz", action=action, three=state["action"], variables=len(model.weights))
"""


def test_export_in_a_process_of_its_own(logdir, tmp_path, capsys):
    """Runs the code that the export's README shows, then the signatures."""
    assert run(f"--logdir={logdir}", f"--out={tmp_path / 'policy'}") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'policy'}: densest policy of {logdir}") and err == ""
    text = (tmp_path / "policy" / "README.md").read_text()
    code = textwrap.dedent("".join(re.findall(r"^(?: {4}.*)?\n", text, re.MULTILINE)))
    assert code.strip() == export.code(["image"]).strip()
    code = code.replace("FOLDER", "policy").replace("range(500)", "range(20)")
    images = frames(3)
    np.save(tmp_path / "images.npy", images)
    script = FRESH.format(code="import numpy\nimage = numpy.load('images.npy')[0]\n" + code)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "found.npz")
    trained = clion_tf.load(logdir, device="cpu")
    for _ in range(20):
        action = trained.act(images[0])
    assert np.array_equal(found["action"], action)
    module = export.policy_module(trained.agent, 0.0)
    expected = module.act(images, [1, 2], **module.initial(3))["action"]
    assert np.array_equal(found["three"], expected)
    networks = (trained.agent.models.encoder, trained.agent.models.rssm, trained.agent.models.actor)
    assert found["variables"] == sum(len(network.trainable_variables) for network in networks)


def test_what_an_export_says_of_itself(logdir, tmp_path):
    out = tmp_path / "policy"
    assert run(f"--logdir={logdir}", f"--out={out}", "--checkpoint=1000", "--action=mean") == 0
    about = json.loads((out / "policy.json").read_text())
    assert about["environment_steps"] == 1000 and about["policy"] == "mean"
    assert (about["task"], about["action_repeat"], about["action_size"]) == ("walker_walk", 2, 2)
    signatures = tf.saved_model.load(str(out)).signatures
    assert set(signatures) == {"initial", "act"}
    found = {
        name: spec.shape.as_list() for name, spec in signatures["act"].structured_outputs.items()
    }
    assert found == {"stoch": [None, 3], "deter": [None, 6], "action": [None, 2]}
    # An earlier export is replaced as a whole; nothing else stays beside it.
    (out / "left over").touch()
    assert run(f"--logdir={logdir}", f"--out={out}") == 0
    about = json.loads((out / "policy.json").read_text())
    assert about["environment_steps"] == 2000 and not (out / "left over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_failure_leaves_the_earlier_export(logdir, tmp_path, monkeypatch, capsys):
    out = tmp_path / "policy"
    out.mkdir()
    (out / export.ABOUT).write_text(json.dumps({"kind": export.KIND}))

    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    assert run(f"--logdir={logdir}", f"--out={out}") == 1
    assert capsys.readouterr().err == "export_policy: error: No space left on device\n"
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    assert [path.name for path in out.iterdir()] == [export.ABOUT]


@pytest.mark.parametrize("about", [None, "{}", "[1]", "not json"])
def test_folders_of_something_else_are_refused(logdir, tmp_path, about, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    if about is not None:
        (tmp_path / "mine" / export.ABOUT).write_text(about)
    assert run(f"--logdir={logdir}", f"--out={tmp_path / 'mine'}") == 2
    text = f"--out={tmp_path / 'mine'}: holds something else than an export; use another folder"
    assert capsys.readouterr().err == f"export_policy: error: {text}\n"
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_what_cannot_be_exported_is_refused(logdir, tmp_path, capsys):
    (tmp_path / "file").touch()
    for words, text in (
        (["--out=no/such/policy"], "--out=no/such/policy: no such folder as "),
        ([f"--out={tmp_path / 'file'}"], "is a file"),
        ([f"--out={tmp_path / 'new'}", "--checkpoint=7"], "no checkpoint at 7 steps"),
        ([f"--out={tmp_path / 'new'}", f"--logdir={tmp_path}"], "no run of clion_tf there"),
    ):
        assert run(f"--logdir={logdir}", *words) == 2
        err = capsys.readouterr().err
        assert text in err and len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_help_shows_how_to_use_an_export(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    assert textwrap.indent(export.code(["image"]), "    ") in capsys.readouterr().out
