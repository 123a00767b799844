"""Exported policies act as the agent does, in a process that never sees clion_tf."""

import contextlib
import errno
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from places import FAKES
from small_agents import tiny_config
from tool_modules import tool as module
from trained import frames, save_run

import clion_tf
from clion_tf.agents.clion import Agent
from clion_tf.agents.drq.drq_agent import DrQ
from clion_tf.analysis import saved_model
from clion_tf.config import Config, parse, to_flagfile
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import describe, make
from clion_tf.envs.wrappers import ActionRepeat
from clion_tf.learning.noise import key
from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.logdir.run_folder import RunFolder

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "export_policy.py"
tool = module("export_policy")


def run(*words):
    return tool.main(words)


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
    module = saved_model.policy_module(trained.agent, trained.config.eval_noise)
    one, seed = frames(4).reshape(4, 1, 64, 64, 3), trained.config.seed
    expected = agents_actions(trained, one)
    assert np.array_equal(exports_actions(module, one, seed), expected)
    assert not np.array_equal(exports_actions(module, one, seed + 1), expected)


SEES = {
    "vector": {"vector": (5,)},
    "image and vector": {"image": (64, 64, 3), "vector": (5,)},
}


def observations(observed, count, seed=0):
    """[count] observations of these shapes."""
    random = np.random.default_rng(seed)
    kinds = {
        "image": lambda shape: random.integers(0, 256, shape, np.uint8),
        "vector": lambda shape: random.normal(size=shape).astype(np.float32),
        "rotation": lambda shape: np.float32(random.uniform(-5, 5, shape)),
    }
    return [{key: kinds[key](shape) for key, shape in observed.items()} for _ in range(count)]


def save_agent(folder, agent, config):
    state = {name: variable.numpy() for name, variable in agent.named_state().items()}
    Checkpoints(folder / "checkpoints").save(state, Counters(steps=1000))
    (folder / "run.flags").write_text(to_flagfile(config))


def exported(folder, out, description=None):
    """The SavedModel that the tool makes, and the agent."""
    if description is not None:
        RunFolder(folder).save_task(description)
    assert run(f"--logdir={folder}", f"--out={out}") == 0
    return tf.saved_model.load(str(out)), clion_tf.load(folder, device="cpu")


def check_acts_alike(model, trained, several=3):
    """The export in several environments at once, each as the agent alone."""
    seen = observations(trained.observed, 4 * several)
    state, noise = model.initial(several), trained.config.seed
    theirs = trained.agent.initial(several)
    for step in range(4):
        rows = seen[step * several : (step + 1) * several]
        batch = {key: np.stack([row[key] for row in rows]) for key in trained.observed}
        state = model.act(*batch.values(), key(noise, "test", 0, step), **state)
        action, theirs = trained.agent.policy(
            batch, theirs, (0, step), training=False, amount=trained.config.eval_noise
        )
        assert np.array_equal(state["action"], action)
    signature = model.signatures["act"]
    named = {name: tf.constant(value) for name, value in batch.items()}
    begun = model.signatures["initial"](batch=tf.constant(several))
    found = signature(**named, seed=tf.constant([1, 2]), **begun)
    assert np.array_equal(
        found["action"], model.act(*batch.values(), [1, 2], **model.initial(several))["action"]
    )


@pytest.mark.parametrize(
    ("observed", "discrete"),
    [(SEES["vector"], True), (SEES["image and vector"], False)],
    ids=["vector, discrete", "image and vector, box"],
)
def test_every_kind_of_observation_and_action(tmp_path, observed, discrete):
    config = tiny_config(eval_action="sample", eval_noise=0.2, precision="32", logdir="x")
    save_agent(tmp_path / "run", Agent(config, 3, discrete, observed=observed), config)
    model, trained = exported(tmp_path / "run", tmp_path / "policy")
    assert trained.observed == observed
    check_acts_alike(model, trained)
    action = np.eye(3, dtype=np.float32)[[2, 0]]
    expected = [2, 0] if discrete else action  # Nothing more is known of the environment.
    assert np.array_equal(model.to_environment(action), expected)


@pytest.fixture
def optimised():
    """Graphs optimised as a user's are; `small_agents` leaves that out."""
    with contextlib.ExitStack() as stack:
        set_options = tf.config.optimizer.set_experimental_options
        stack.callback(set_options, {"disable_meta_optimizer": True})
        set_options({"disable_meta_optimizer": False})
        yield


def test_optimised_graphs_act_alike_to_the_last_digit(tmp_path, optimised):
    """TensorFlow's arithmetic optimiser makes other sums where it knows how many rows there are."""
    config = parse(["--flagfile=debug", f"--logdir={tmp_path}/run", "--precision=32"])
    agent = Agent(config, 4, observed=SEES["vector"])
    random = np.random.default_rng(3)
    for variable in agent.models.trainable_variables:  # As trained: not all biases are 0.
        variable.assign(variable.numpy() + 0.05 * random.normal(size=variable.shape))
    save_agent(tmp_path / "run", agent, config)
    model, trained = exported(tmp_path / "run", tmp_path / "policy")
    state = model.initial(1)
    trained.reset()
    for step, seen in enumerate(observations(trained.observed, 20)):
        state = model.act(
            *(value[None] for value in seen.values()), key(0, "test", 0, step), **state
        )
        assert np.array_equal(state["action"][0], trained.act(seen))


@pytest.mark.parametrize(
    ("stack_rotation", "how"),
    [("same", "sample"), ("independent", "mean")],
)
def test_drq(tmp_path, stack_rotation, how):
    config = Config(
        agent="drq", stack_rotation=stack_rotation, drq_image_size=16, drq_filters=2,
        drq_feature_dim=3, drq_units=4, eval_action=how, eval_noise=0.1, logdir="x", precision="32",
    )  # fmt: skip
    save_agent(tmp_path / "run", DrQ(config, 2), config)
    model, trained = exported(tmp_path / "run", tmp_path / "policy")
    assert ("rotation" in trained.observed) == (stack_rotation == "same")
    check_acts_alike(model, trained)


def test_actions_of_a_type_that_tensorflow_has_not(tmp_path, capsys):
    config = tiny_config(precision="32", logdir="x")
    save_agent(tmp_path / "run", Agent(config, 2, observed=SEES["vector"]), config)
    wide = {"shape": [2], "dtype": "float128", "low": [-1.0] * 2, "high": [1.0] * 2}
    RunFolder(tmp_path / "run").save_task({"action": wide})
    assert run(f"--logdir={tmp_path}/run", f"--out={tmp_path}/policy") == 2
    assert "the task's actions are float128" in capsys.readouterr().err


def test_no_rounding_leaves_the_environments_bounds():
    random = np.random.default_rng(0)
    low = random.uniform(-3, 0, 2000).round(2)
    high = (low + random.uniform(0.1, 3, 2000)).round(2)
    taken = {"shape": [2000], "dtype": "float64", "low": low.tolist(), "high": high.tolist()}
    for end in (-1, 1):
        found = saved_model._native(tf.fill([1, 2000], float(end)), False, taken).numpy()[0]
        assert np.all((low <= found) & (found <= high))


@pytest.mark.parametrize("task, size", [("boxed", 4), ("counted", 4)])
def test_actions_as_the_environment_takes_them(tmp_path, monkeypatch, task, size):
    monkeypatch.syspath_prepend(FAKES)
    env = make(EnvSpec(f"env_fakes:{task}", observe="vector"))
    discrete = task == "counted"
    config = tiny_config(precision="32", logdir="x", task=f"env_fakes:{task}")
    agent = Agent(config, size, discrete, observed={"vector": (7,)})
    save_agent(tmp_path / "run", agent, config)
    description = json.loads(json.dumps(describe(env)))
    model, _ = exported(tmp_path / "run", tmp_path / "policy", description)
    given = []
    monkeypatch.setattr(env.unwrapped, "step", lambda a: given.append(a) or ({}, 0, 0, 0, {}))
    actions = np.eye(4, dtype=np.float32)
    if not discrete:
        random = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)
        actions = np.concatenate([random, [[-1] * 4, [1] * 4, [0] * 4]]).astype(np.float32)
    wrapper = next(layer for layer in layers(env) if isinstance(layer.env, ActionRepeat))
    for action in actions:
        with contextlib.suppress(Exception):
            wrapper.step(int(action.argmax()) if discrete else action)
    found = model.to_environment(actions).numpy()
    assert len(given) >= len(actions) and found.dtype == np.asarray(given[0]).dtype
    assert np.array_equal(found, given[:: len(given) // len(actions)])
    text = (tmp_path / "policy" / "README.md").read_text()
    assert "| gear | 3 | Discrete from 1, one-hot |\n  | speed | 4 | Box [2, 2] |" in text
    said = "int64 [B], -1 to 2" if discrete else "float64 [B, 2, 2]"
    assert said in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def layers(env):
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env


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
    assert code.strip() == saved_model.code(["image"]).strip()
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
    module = saved_model.policy_module(trained.agent, 0.0)
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
    (out / saved_model.ABOUT).write_text(json.dumps({"kind": saved_model.KIND}))

    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    assert run(f"--logdir={logdir}", f"--out={out}") == 1
    assert capsys.readouterr().err == "export_policy: error: No space left on device\n"
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    assert [path.name for path in out.iterdir()] == [saved_model.ABOUT]


@pytest.mark.parametrize("stuck", ["policy", ".policy.tmp"])
def test_what_cannot_be_moved_loses_no_export(stuck, logdir, tmp_path, monkeypatch, capsys):
    out, rename = tmp_path / "policy", pathlib.Path.rename
    out.mkdir()
    (out / saved_model.ABOUT).write_text(json.dumps({"kind": saved_model.KIND}))

    def busy(path, target):
        if path.name == stuck:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", busy)
    assert run(f"--logdir={logdir}", f"--out={out}") == 1
    assert "Device or resource busy" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [saved_model.ABOUT]
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_full_disk_is_told_in_one_line(logdir, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "variables: No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    assert run(f"--logdir={logdir}", f"--out={tmp_path / 'policy'}") == 1
    text = f"cannot write {tmp_path / 'policy'}: variables: No space left on device"
    assert capsys.readouterr().err == f"export_policy: error: {text}\n"
    assert list(tmp_path.iterdir()) == []


def test_folders_of_something_else_are_refused(logdir, tmp_path, capsys):
    thesis, about = tmp_path / "mine" / "thesis.tex", tmp_path / "mine" / saved_model.ABOUT
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for text in (None, "{}", "[1]", "not json"):
        if text is not None:
            about.write_text(text)
        assert run(f"--logdir={logdir}", f"--out={thesis.parent}") == 2
        text = f"--out={thesis.parent}: holds something else than an export; use another folder"
        assert capsys.readouterr().err == f"export_policy: error: {text}\n"
        assert thesis.read_text() == "years of work"


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
    assert textwrap.indent(saved_model.code(["image"]), "    ") in capsys.readouterr().out
