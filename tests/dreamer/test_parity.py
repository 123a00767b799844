"""The numbers of the original Dreamer, and of CLION as computed elsewhere, come out."""

import json

import numpy as np
import pytest
from places import ROOT
from tool_modules import tool as module

from clion_tf.config import Config
from clion_tf.dreamer import parity
from clion_tf.learning.noise import GivenNoise

GOLDEN = ROOT / "tests" / "golden"
# Arrays to compare in each, counted in the files as they came.
COUNTS = {
    "dreamer_tf22_a": 119,
    "dreamer_tf22_b": 119,
    "dreamer_tf22_c": 135,
    "clion_e": 96,
    "clion_g": 98,
}


# A graph for each file takes most of the time; that of the tool's test below has one.
without_a_graph = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def tool(monkeypatch):
    """The tool's `main`, run in this process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # As the tool sets it, and undone.
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    return module("compare_dreamer").main


@pytest.fixture
def changed_golden(tmp_path):
    """Function that writes a golden file with some arrays changed, or without them (None)."""

    def write(name, changes, meta=None):
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        arrays |= changes(arrays)
        if meta is not None:
            arrays["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | meta))
        path = tmp_path / "changed.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write


def test_defaults_are_the_originals_constants():
    with np.load(GOLDEN / "dreamer_tf22_c.npz") as file:
        meta = json.loads(str(file["meta"]))
    named = {parity.OPTIONS.get(name, name): value for name, value in meta.items()}
    sizes = {
        "batch_size", "batch_length", "cnn_depth", "deter_size", "stoch_size", "hidden_size",
        "num_units", "horizon", "pcont",
    }  # fmt: skip
    constants = {n: v for n, v in named.items() if n in Config.__dataclass_fields__} | {}
    assert len(constants.keys() - sizes) == 15
    for name in constants.keys() - sizes:
        assert getattr(Config(), name) == constants[name], name


def compared(name):
    """What is to be compared in a golden file."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        kinds = ("output/", "grad/", "after_model_step/")
        found = {key for key in file.files if key.startswith(kinds)}
    assert len(found) == COUNTS[name] > 90
    return found


@without_a_graph
@pytest.mark.parametrize("name", sorted(COUNTS.keys() - {"clion_e"}))
def test_every_golden_number_comes_out(name):
    """The fifth file's by the tool, see below."""
    rows = list(parity.compare(GOLDEN / f"{name}.npz"))
    assert {row.name for row in rows} == compared(name) and len(rows) == COUNTS[name]
    assert [row for row in rows if not row.holds] == []


@without_a_graph
def test_a_changed_number_is_seen_and_nothing_else(changed_golden):
    def change(arrays):
        embed = arrays["output/embed"].copy()
        embed.flat[3] += 2e-4 * np.abs(embed).max()
        gradient = arrays["grad/rssm/gru/kernel"].copy()
        gradient[0, 0] += 2e-3 * np.abs(gradient).max()
        step = arrays["after_model_step/decoder/h5/bias"].copy()
        step[0] += 0.05 * 6e-4
        return {
            "output/embed": embed,
            "grad/rssm/gru/kernel": gradient,
            "after_model_step/decoder/h5/bias": step,
        }

    rows = parity.compare(changed_golden("dreamer_tf22_a", change))
    assert {row.name for row in rows if not row.holds} == {
        "output/embed",
        "grad/rssm/gru/kernel",
        "after_model_step/decoder/h5/bias",
    }


@without_a_graph
def test_a_changed_weight_is_seen_by_the_tool(changed_golden, tool, capsys):
    def change(arrays):
        return {"weights/reward/hout/bias": arrays["weights/reward/hout/bias"] + 0.01}

    path = changed_golden("dreamer_tf22_b", change)
    assert tool(["parity", f"--golden={path}"]) == 1
    out = capsys.readouterr().out.splitlines()
    differing = {line.split()[0] for line in out if line.endswith("DIFFERS")}
    assert {"output/reward_mean", "output/log_prob_reward", "output/value_loss"} <= differing
    assert "output/embed" not in differing and "output/image_mean" not in differing
    assert out[-1] == f"{len(differing)} DIFFER: {119 - len(differing)} of 119 quantities " + (
        "within their tolerance"
    )


@without_a_graph
def test_constants_of_the_file_are_used(changed_golden):
    """CLION's numbers with another constant in `meta` are other numbers."""
    path = changed_golden("clion_e", lambda arrays: {}, meta={"sigma1": 0.0})
    wrong = {row.name for row in parity.compare(path) if not row.holds}
    assert "output/start_deter" in wrong and "output/start_stoch" not in wrong
    assert "output/weight" in wrong and "output/model_loss" not in wrong


def ours_at_other_sizes(path, name, sizes, seed=0):
    """A golden file like `name` but of other sizes, its outputs computed by ourselves."""
    meta, _ = parity.load(GOLDEN / f"{name}.npz")
    meta |= sizes
    agent = parity.build(meta)
    random = np.random.default_rng(seed)
    size = [meta["batch"], meta["length"]]
    action = random.uniform(-1, 1, [*size, meta["actions"]]).astype(np.float32)
    image = random.integers(0, 256, [2, *size, 64, 64, 3], np.uint8)
    arrays = {f"weights/{n}": v.numpy() for n, v in agent.models.named_weights().items()}
    arrays |= {"input/image": image[0], "input/image_transformed": image[1]}
    arrays |= {"input/action": action, "input/reward": action[..., 0]}
    arrays["noise/decoding"] = random.normal(size=[*size, meta["deter"]]).astype(np.float32)
    data = {n.removeprefix("input/"): a for n, a in arrays.items() if n.startswith("input/")}
    noise = {"decoding": arrays["noise/decoding"]}
    _, losses = agent.gradients(data, GivenNoise(noise))
    out = parity.outputs(losses)
    names = ("embed", "decoding_constraint", "lambda_return", "weight", "real_logit", "actor_loss")
    arrays |= {f"output/{key}": out[key].numpy() for key in names}
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    return arrays


@without_a_graph
def test_files_of_other_sizes(tmp_path, tool, capsys):
    sizes = {"batch": 2, "length": 7, "horizon": 4, "overshoot": 3, "augmentations": 3}
    sizes |= {"deter": 12, "stoch": 5, "actions": 3}
    path = tmp_path / "other.npz"
    arrays = ours_at_other_sizes(path, "clion_e", sizes)
    assert arrays["output/weight"].shape == (3, 4 * 2 * 7)
    assert tool(["parity", "--golden", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("all hold: 6 of 6 ")


def test_every_golden_number_comes_out_of_the_tool(tmp_path, tool, capsys, monkeypatch):
    """From another folder, with a file named relative to it."""
    (tmp_path / "golden.npz").symlink_to(GOLDEN / "clion_e.npz")
    monkeypatch.chdir(tmp_path)
    assert tool(["parity", "--golden=golden.npz"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[1].split() == ["quantity", "difference", "tolerance", "verdict"]
    assert {line.split()[0] for line in lines[2:-1]} == compared("clion_e")
    assert len(lines) == 2 + COUNTS["clion_e"] + 1
    assert all(len(line.split()) == 4 and line.endswith(" ok") for line in lines[2:-1])
    assert lines[-1] == "all hold: 96 of 96 quantities within their tolerance"


def npz(path, **arrays):
    np.savez(path, **arrays)


NOT_GOLDEN = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n"),
    "damaged": lambda path: path.write_bytes((GOLDEN / "clion_e.npz").read_bytes()[:100_000]),
    "array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "no_meta": lambda path: npz(path, **{"output/embed": np.zeros(3)}),
    "episode": lambda path: npz(path, image=np.zeros(3), meta=np.array("no JSON")),
    "meta_list": lambda path: npz(path, meta=np.array("[1]")),
    "meta_without_sizes": lambda path: npz(path, meta=np.array("{}")),
    "impossible_sizes": lambda path: npz(path, meta=np.array('{"actions": 2, "batch": -1}')),
}


@pytest.mark.parametrize("kind", NOT_GOLDEN)
def test_what_is_no_golden_file_is_refused_in_one_line(kind, tmp_path, tool, capsys):
    path = tmp_path / f"{kind}.npz"
    NOT_GOLDEN[kind](path)
    assert tool(["parity", f"--golden={path}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and str(path) in err


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"weights/rssm/gru/bias": None}, "rssm/gru/bias"),
        ({"weights/rssm/gru/bias": np.zeros(3)}, "rssm/gru/bias"),
        ({"weights/rssm/other": np.zeros(3)}, "rssm/other"),
        ({"input/reward": None}, "reward"),
    ],
)
def test_weights_or_data_that_do_not_fit_are_refused(changes, word, changed_golden, tool, capsys):
    path = changed_golden("dreamer_tf22_a", lambda arrays: changes)
    assert tool(["parity", f"--golden={path}"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and word in err


@without_a_graph
def test_nothing_to_compare_is_refused(changed_golden, tool, capsys):
    def without(arrays):
        kinds = ("output/", "grad/", "after_model_step/")
        return {key: None for key in arrays if key.startswith(kinds)}

    path = changed_golden("dreamer_tf22_a", without)
    assert tool(["parity", f"--golden={path}"]) == 2
    assert "nothing to compare" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ours, expected, difference",
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.0], [0.0], 0.0),
        ([1e-9], [0.0], np.inf),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], np.inf),
        (None, [1.0], np.inf),
    ],
)
def test_relative_difference(ours, expected, difference):
    ours = None if ours is None else np.array(ours)
    assert parity.relative_difference(ours, np.array(expected)) == pytest.approx(difference)


def test_nan_does_not_hold():
    both = np.array([np.nan, 1.0])
    difference = parity.relative_difference(both, both)
    assert not parity.Comparison("x", difference, 1e-4).holds
