"""The original's variables.pkl becomes a logdir; a pickle of anything else does nothing."""

import collections
import os
import pathlib
import pickle
import pickletools

import dreamer_pickles
import numpy as np
import pytest
import tensorflow as tf
from loop_fakes import CountingEnv

import clion_tf
from clion_tf.agents.clion import Agent
from clion_tf.config import DREAMER, Config
from clion_tf.dreamer import checkpoint_conversion
from clion_tf.dreamer.checkpoint_conversion import read_arrays
from clion_tf.envs import SupervisedEnvs
from clion_tf.learning.preprocessing import preprocess_image
from clion_tf.logdir import checkpoints
from clion_tf.logdir.checkpoints import CheckpointError
from clion_tf.logdir.run_folder import LogdirError, RunFolder
from clion_tf.training import build_run, loop

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "dreamer_tf22_variables"
# Of the golden agent, trained by the original for 30 updates.
SMALL = {"deter_size": 10, "hidden_size": 10, "stoch_size": 3, "num_units": 12, "cnn_depth": 1}
ACTIONS, STEP = 2, 7000


def small(folder, **options):
    return Config(**{**DREAMER, **SMALL, "logdir": str(folder), **options})


@pytest.fixture(scope="module")
def weights():
    """Weights by name of an agent of SMALL sizes."""
    agent = Agent(Config(**{**DREAMER, **SMALL, "seed": 4}), ACTIONS)
    return {name: v.numpy() for name, v in agent.models.named_weights().items()}


def test_outputs_are_those_of_the_original(tmp_path):
    _, counters, actions = checkpoint_conversion.convert(
        small(tmp_path / "run"), GOLDEN.with_suffix(".pkl")
    )
    assert (counters.steps, counters.begun_at, actions) == (STEP, STEP, ACTIONS)
    assert counters.logged_at == STEP  # The first line's rates are of our own steps.
    models = clion_tf.load(tmp_path / "run").agent.models
    with np.load(GOLDEN.with_suffix(".npz")) as file:
        expected = {name: file[name] for name in file.files}
    noise = (expected["post_stoch"] - expected["post_mean"]) / expected["post_std"]
    embed = models.encoder(preprocess_image(tf.constant(expected["image"])))
    post, prior = models.rssm.observe(embed, tf.constant(expected["action"]), tf.constant(noise))
    feat = models.rssm.get_feat(post)
    policy = models.actor(tf.reshape(feat, [-1, feat.shape[-1]]))
    found = {f"post_{key}": value for key, value in post.items()}
    found |= {f"prior_{key}": prior[key] for key in ("mean", "std", "deter")}
    found |= {"embed": embed, "image_mean": models.decoder(feat).mode()[:, :, ::8, ::8]}
    found |= {"reward_mean": models.reward(feat).mode()}
    found |= {"value_mean": models.value(feat).mode()}
    before_tanh = policy.distribution
    found |= {"actor_mean": before_tanh.mean(), "actor_std": before_tanh.stddev()}
    found["log_prob_half"] = policy.log_prob(0.5 * tf.ones_like(found["actor_mean"]))
    assert found.keys() == expected.keys() - {"image", "action"}
    for name, value in found.items():
        ours = np.reshape(value, expected[name].shape)
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(ours, expected[name], atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("pcont", [False, True])
def test_order_is_that_of_the_original(pcont):
    names = checkpoint_conversion.order(pcont)
    assert names == dreamer_pickles.in_its_order({name: name for name in names})
    assert len(names) == (63 if pcont else 55)


@pytest.mark.parametrize("metrics", [13, 1, 0])
def test_arrays_are_found_again_whatever_it_measured(metrics, weights, tmp_path):
    values = dreamer_pickles.variables(weights, 1234, metrics)
    path = dreamer_pickles.write(tmp_path / "variables.pkl", values)
    saved, found, _ = checkpoint_conversion.convert(small(tmp_path / "run"), path)
    arrays, counters = checkpoints.load(saved)
    assert counters == found and counters.steps == counters.begun_at == 1234
    found = {n[8:]: a for n, a in arrays.items() if n.startswith("weights/")}
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    moments = [a for n, a in arrays.items() if "momentum" in n or "velocity" in n]
    assert len(moments) == 2 * 55 and not any(array.any() for array in moments)
    assert RunFolder(tmp_path / "run").options() == small(tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoints", "run.flags"]


def episode(frames, actions=ACTIONS, kind="float16"):
    random = np.random.default_rng(frames)
    return {
        "image": random.integers(0, 256, (frames, 64, 64, 3), np.uint8),
        "action": random.uniform(-1, 1, (frames, actions)).astype(kind),
        "reward": random.uniform(0, 1, frames).astype(kind),
        "discount": np.ones(frames, kind),
        "orientations": np.zeros((frames, 14), kind),  # As all observations of the original.
    }


def its_episodes(folder, *episodes):
    """Files as the original's precision 16 writes them."""
    folder.mkdir()
    for number, one in enumerate(episodes):
        name = f"20200101T00000{number}-{'ab' * 16}-{len(one['reward'])}.npz"
        np.savez_compressed(folder / name, **one)
    return folder


RUN = {
    "steps": 90, "prefill": 40, "time_limit": 20, "train_every": 20, "train_steps": 1,
    "pretrain": 2, "batch_size": 2, "batch_length": 4, "horizon": 3, "video": "none",
    "log_images": False, "log_every": 20,
}  # fmt: skip


def assembled(folder, **options):
    """The run of a converted logdir, in an environment of 10 agent steps an episode."""
    env = CountingEnv()
    config = small(folder, **{**RUN, **options})
    envs, test_envs = SupervisedEnvs(lambda: env, 0), SupervisedEnvs(CountingEnv, 0)
    run = build_run.assemble(config, RunFolder(folder), envs, test_envs, lambda: False)
    return run, env


def test_run_goes_on_with_its_episodes(tmp_path, capsys, eagerly):
    source = its_episodes(tmp_path / "its", episode(11), episode(13), episode(9))
    config = small(tmp_path / "run", **RUN)
    _, counters, _ = checkpoint_conversion.convert(config, GOLDEN.with_suffix(".pkl"), source)
    assert counters.episodes == 3
    assert counters.begun_at == STEP - (10 + 12 + 8) * 2
    run, env = assembled(tmp_path / "run", steps=STEP + 30)
    assert len(run.replay) == 3
    batch = run.replay.newest(9, 1)
    for key, value in episode(9).items():
        if key in batch:
            np.testing.assert_array_equal(batch[key][0], value.astype(batch[key].dtype))
    loop.train(run)
    # Two episodes of the agent, one phase of updates before each, and no seed episode.
    assert (env.episodes, run.counters.updates) == ([3, 4], 2)
    assert run.counters.steps == STEP + 40
    names = sorted(os.listdir(tmp_path / "run" / "episodes"))
    assert names == [f"{i:06d}-{n}.npz" for i, n in enumerate((11, 13, 9, 11, 11))]
    assert "resuming at 7000 environment steps" in capsys.readouterr().err


def test_run_without_its_episodes_begins_with_seed_episodes(tmp_path, eagerly):
    config = small(tmp_path / "run", **RUN)
    checkpoint_conversion.convert(config, GOLDEN.with_suffix(".pkl"))
    # An interruption in between changes nothing.
    for number in (0, 1):
        run, env = assembled(tmp_path / "run", steps=STEP + 20 * (number + 1))
        assert run.counters.steps - STEP < run.config.prefill
        loop.train(run)
        assert (env.episodes, run.counters.updates) == ([number], 0)
    run, _ = assembled(tmp_path / "run")
    assert run.counters.steps == STEP + 40 == STEP + run.config.prefill
    assert run.counters.last_train is None  # So the first phase of updates is next.


def refused(path, folder, **options):
    """The line by which a conversion is refused, having left nothing."""
    before = sorted(folder.iterdir())
    with pytest.raises(CheckpointError) as error:
        checkpoint_conversion.convert(small(folder / "run", **options), path)
    assert sorted(folder.iterdir()) == before
    line = str(error.value)
    assert len(line.splitlines()) == 1 and line.startswith(str(path))
    return line


def changed(index, array):
    return lambda v: (*v[:index], array, *v[index + 1 :])


MISFITS = {
    "nothing": (lambda v: (), "does not begin with a count of steps"),
    "no_step": (lambda v: v[1:], "does not begin with a count of steps"),
    "step_float": (changed(0, np.float32(1)), "does not begin with a count of steps"),
    "step_negative": (changed(0, np.int64(-1)), "does not begin with a count of steps"),
    "only_step": (lambda v: v[:1], "only the agent has actor/h0/bias"),
    "shorter": (lambda v: v[:-1], "only the agent has value/hout/bias"),
    "longer": (lambda v: (*v, v[-1]), "has 1 arrays more"),
    "nan": (changed(2, np.full(12, np.nan, "f4")), "actor/h0/bias has entries that are no finite"),
    "integers": (changed(2, np.zeros(12, "i4")), "actor/h0/bias has entries that are no finite"),
    "shape": (changed(12, np.zeros(31, "f4")), "decoder/h1/bias is (31,), agent's (32,)"),
    "swapped": (lambda v: (v[0], v[2], v[1], *v[3:]), "(12,), agent's (13, 12)"),
    # A discrete agent has as many outputs as actions, not twice as many.
    "discrete": (
        lambda v: (*v[:9], v[9][:, :2], v[10][:2], *v[11:]),
        "actor/hout/kernel is (12, 2)",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_fit_is_named(kind, weights, tmp_path):
    change, part = MISFITS[kind]
    values = change(dreamer_pickles.variables(weights))
    assert part in refused(dreamer_pickles.write(tmp_path / "v.pkl", values), tmp_path)


def test_other_sizes_are_named(weights, tmp_path):
    path = dreamer_pickles.write(tmp_path / "v.pkl", dreamer_pickles.variables(weights))
    assert "(10, 6), agent's (10, 8)" in refused(path, tmp_path, stoch_size=4)
    assert "(4, 4, 3, 1), agent's (4, 4, 3, 2)" in refused(path, tmp_path, cnn_depth=2)
    assert "only the agent has value/h0/bias" in refused(path, tmp_path, pcont="True")
    assert "only the agent has evaluator/h0/bias" in refused(path, tmp_path, evaluator=True)


def test_discount_head(weights, tmp_path):
    random = np.random.default_rng(0)
    shapes = {"h0": (13, 12), "h1": (12, 12), "h2": (12, 12), "hout": (12, 1)}
    head = {}
    for layer, shape in shapes.items():
        head[f"pcont/{layer}/kernel"] = random.normal(size=shape).astype("f4")
        head[f"pcont/{layer}/bias"] = random.normal(size=shape[-1:]).astype("f4")
    values = dreamer_pickles.variables({**weights, **head})
    path = dreamer_pickles.write(tmp_path / "v.pkl", values)
    assert "has 8 arrays more than an agent of these options; with a discount head" in refused(
        path, tmp_path
    )
    saved, *_ = checkpoint_conversion.convert(small(tmp_path / "run", pcont="True"), path)
    arrays, _ = checkpoints.load(saved)
    for name, array in {**weights, **head}.items():
        np.testing.assert_array_equal(arrays[f"weights/{name}"], array)


def test_bad_episodes_leave_nothing(tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "20200101T000000-ab-9.npz").write_text("hello\n")
    its_episodes(tmp_path / "three", episode(9), episode(8, actions=3))
    for name, part in {
        "none": "no episodes there",
        "text": "no whole episode",
        "three": "has 3 actions, the agent 2",
    }.items():
        before = sorted(tmp_path.iterdir())
        with pytest.raises(CheckpointError, match=part):
            checkpoint_conversion.convert(
                small(tmp_path / "r"), GOLDEN.with_suffix(".pkl"), tmp_path / name
            )
        assert sorted(tmp_path.iterdir()) == before


def test_existing_logdirs_stay_as_they_are(tmp_path):
    (tmp_path / "notes.txt").write_text("mine\n")
    with pytest.raises(LogdirError, match="exists"):
        checkpoint_conversion.convert(small(tmp_path), GOLDEN.with_suffix(".pkl"))
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    checkpoint_conversion.convert(small(tmp_path / "empty"), GOLDEN.with_suffix(".pkl"))
    assert clion_tf.load(tmp_path / "empty").counters.steps == STEP


# The unpickler.


class Call:
    """Pickles as a call of something."""

    def __init__(self, function, *arguments):
        self._reduced = (function, arguments)

    def __reduce__(self):
        return self._reduced


def pickled(path, value, protocol=4):
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def names(module, name, arguments=pickle.EMPTY_TUPLE):
    """A pickle that calls module.name, written by hand."""
    return b"".join([b"\x80\x04c", module, b"\n", name, b"\n", arguments, pickle.REDUCE, b"."])


def test_a_pickle_cannot_run_anything(tmp_path):
    target = tmp_path / "ran"
    touch = f"touch {target}"
    numbers = np.zeros(3, np.float32)
    attacks = [
        Call(os.system, touch),
        (np.int64(3), numbers, Call(os.system, touch)),
        (np.int64(3), Call(eval, f"open({str(target)!r}, 'w')")),
        Call(exec, f"open({str(target)!r}, 'w')"),
        Call(pathlib.Path.touch, target),
        Call(np.savetxt, str(target), [1.0]),
        Call(np.load, str(target)),
        (numbers, Call(np.dtype, Call(os.system, touch))),
        np.array([Call(os.system, touch)], object),
        (np.int64(3), collections.OrderedDict(a=1)),
    ]
    for protocol in (2, 3, 4, 5):
        for number, attack in enumerate(attacks):
            path = pickled(tmp_path / "attack.pkl", attack, protocol)
            if number < 2:
                with path.open("rb") as file:  # It would work: the test is no empty one.
                    assert "system" in str([op[1] for op in pickletools.genops(file.read())])
            with pytest.raises(CheckpointError) as error:
                read_arrays(path)
            assert len(str(error.value).splitlines()) == 1
    assert not target.exists()


@pytest.mark.parametrize(
    "content, part",
    [
        (names(b"posix", b"system"), "it wants 'posix.system'"),
        (names(b"builtins", b"getattr"), "it wants 'builtins.getattr'"),
        (names(b"numpy", b"ndarray.tofile"), "it wants 'numpy.ndarray.tofile'"),
        (names(b"numpy", b"ndarray"), "damaged"),
        (names(b"numpy.core.multiarray", b"fromfile"), "it wants 'numpy.core.multiarray.fromfile'"),
        (names(b"numpy\x1b[31m", b"dtype"), r"it wants 'numpy\x1b[31m.dtype'"),
        (b"\x80\x04\x82\x01.", "damaged"),  # An extension.
        (b"\x80\x04K\x01Q.", "damaged"),  # A persistent object.
        (pickle.dumps(np.array(["a", "b"])), "arrays of 'U1'"),
        (pickle.dumps(np.array([None], object)), "arrays of 'O8'"),
        (pickle.dumps(np.zeros(2, "c8")), "arrays of 'c8'"),
        (pickle.dumps(np.zeros(2, [("a", "f4")])), "arrays of 'V4'"),
        (pickle.dumps({"a": 1}), "holds a dict"),
        (pickle.dumps((np.zeros(2), 3)), "holds a int among"),
        (pickle.dumps(np.zeros(2)), "holds a _Array"),
        (pickle.dumps(np.zeros(2), 2), "it wants '_codecs.encode'"),
        (b"", "damaged"),
        (b"hello\n", "damaged"),
        (b"\x80\x04\x8e" + b"\xff" * 8, "damaged"),  # Bytes of an impossible length.
    ],
)
def test_what_is_no_pickle_of_arrays_is_refused(content, part, tmp_path):
    with pytest.raises(CheckpointError) as error:
        read_arrays(pickled(tmp_path / "v.pkl", content))
    assert part in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_come_back(protocol, tmp_path):
    random = np.random.default_rng(0)
    arrays = [
        random.normal(size=(3, 4)).astype("f4"),
        np.asfortranarray(random.normal(size=(3, 4))),
        random.normal(size=(2, 3)).astype(">f8"),
        np.arange(6, dtype="i2").reshape(3, 2)[:, ::-1],
        np.array([True, False]),
        np.float16(0.5),
        np.array(7),
        np.int64(1) << np.int64(40),
        np.zeros((0, 3), "f4"),
    ]
    for container in (tuple, list):
        found = read_arrays(pickled(tmp_path / "v.pkl", container(arrays), protocol))
        assert [type(array) for array in found] == [np.ndarray] * len(arrays)
        for ours, array in zip(found, arrays, strict=True):
            assert (ours.dtype, ours.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(ours, array)


def test_old_and_new_names_of_numpy(tmp_path):
    """The golden file names NumPy 1's modules; renamed, it is one of NumPy 2."""
    content = GOLDEN.with_suffix(".pkl").read_bytes()
    old = b"\x8c\x15numpy.core.multiarray"
    assert content.count(old) == 1  # Names are written once, and remembered.
    renamed = content.replace(old, b"\x8c\x16numpy._core.multiarray")
    # One byte more in the frame.
    size = int.from_bytes(renamed[3:11], "little")
    renamed = renamed[:3] + (size + 1).to_bytes(8, "little") + renamed[11:]
    expected = read_arrays(GOLDEN.with_suffix(".pkl"))
    found = read_arrays(pickled(tmp_path / "v.pkl", renamed))
    assert len(found) == len(expected) == 1 + 55 + 26 and int(found[0]) == STEP
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_damaged_files_are_refused_or_hold_arrays(tmp_path):
    content = pickle.dumps((np.int64(3), np.arange(4.0)))
    refusals = 0
    for place in range(len(content)):
        for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
            try:
                found = read_arrays(pickled(tmp_path / "v.pkl", damaged))
            except CheckpointError as error:
                refusals += 1
                assert len(str(error).splitlines()) == 1
            else:
                assert all(isinstance(array, np.ndarray) for array in found)
    assert refusals > len(content)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.pkl")
