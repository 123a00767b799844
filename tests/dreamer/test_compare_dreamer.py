"""tools/compare_dreamer.py: checkpoint, episodes and curves, as a user calls them."""

import json
import os
import re
import subprocess
import sys
import textwrap

import dreamer_pickles
import matplotlib.image
import numpy as np
import pytest
from places import ROOT
from tool_modules import tool as module

import clion_tf
from clion_tf.agents.clion import Agent
from clion_tf.config import DREAMER, Config, parse, to_flagfile
from clion_tf.dreamer import original_code
from clion_tf.logdir import checkpoints
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.replay.episode_files import save_episode

TOOL = ROOT / "tools" / "compare_dreamer.py"

# What is used of the original's tools.py: functions of the same names and arguments.
TOOLS = """
import pathlib, random
import gym
import numpy as np

def count_episodes(directory):
    frames = [int(path.stem.split("-")[-1]) for path in directory.glob("*.npz")]
    return len(frames), sum(frames) - len(frames)

def load_episodes(directory, rescan, length=None, balance=False, seed=0):
    print("to stdout, as the original does")
    while True:
        with np.load(random.choice(sorted(pathlib.Path(directory).glob("*.npz")))) as file:
            episode = {key: file[key] for key in file.files}
        if length:
            start = random.randrange(len(episode["reward"]) - length)
            episode = {key: value[start : start + length] for key, value in episode.items()}
        yield episode

def save_episodes(directory, episodes):
    directory.mkdir(parents=True)
    for number, episode in enumerate(episodes):
        name = f"20200101T000000-{number}-{len(episode['reward'])}.npz"
        np.savez_compressed(directory / name, **episode)
"""


@pytest.fixture
def tool():
    """The tool's module."""
    return module("compare_dreamer")


@pytest.fixture
def call(tool, capsys):
    """Function that runs the tool in this process; (exit code, lines of stdout, of stderr)."""

    def run(*words):
        code = tool.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def refused(call):
    """Function that runs the tool; the one line by which it refuses."""

    def run(*words):
        code, out, err = call(*words)
        assert (code, out, len(err)) == (2, [], 1), (code, out, err)
        assert err[0].startswith("compare_dreamer: error: ")
        return err[0]

    return run


# checkpoint


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """(a variables.pkl of default sizes, its weights by name)."""
    agent = Agent(Config(**DREAMER, seed=3), action_size=6)
    weights = {name: v.numpy() for name, v in agent.models.named_weights().items()}
    path = tmp_path_factory.mktemp("its") / "variables.pkl"
    return dreamer_pickles.write(path, dreamer_pickles.variables(weights, 105000)), weights


def test_checkpoint_of_default_sizes(full_size, call, tmp_path):
    path, weights = full_size
    folder = tmp_path / "new" / "run"
    words = [f"--pickle={path}", f"--logdir={folder}", "--task=cheetah_run", "--device=cpu"]
    code, out, err = call("checkpoint", *words)
    assert (code, err) == (0, [])
    assert out == [
        f"{folder}/checkpoints/000105000.npz: 105000 environment steps, 6 actions",
        "episodes: 0, of 0 environment steps",
        "a run begins with seed episodes, up to 5000 environment steps",
    ]
    dreamer = parse([f"--flagfile={ROOT}/flags/dreamer.flags", *words[1:]])
    assert RunFolder(folder).options() == dreamer
    trained = clion_tf.load(folder)
    for name, variable in trained.agent.models.named_weights().items():
        np.testing.assert_array_equal(variable.numpy(), weights[name])
    action = trained.act(np.zeros((64, 64, 3), np.uint8))
    assert action.shape == (6,) and np.abs(action).max() <= 1
    assert trained.counters.steps == 105000
    arrays, _ = checkpoints.load(trained.path)
    assert arrays.keys() == trained.agent.named_state().keys()


def test_checkpoint_refusals(full_size, refused, tmp_path):
    path, _ = full_size
    new = f"--logdir={tmp_path / 'run'}"
    assert "--pickle=" in refused("checkpoint", f"--pickle={tmp_path}/none.pkl", new)
    assert "--pickle=" in refused("checkpoint", f"--pickle={tmp_path}", new)
    good = ["checkpoint", f"--pickle={path}"]
    assert "--episodes=" in refused(*good, new, f"--episodes={tmp_path}/none")
    assert "no episodes there" in refused(*good, new, f"--episodes={tmp_path}")
    assert "bacth_size" in refused(*good, new, "--bacth_size=3")
    assert "kernel is (4, 4, 3, 32), agent's (4, 4, 3, 16)" in refused(*good, new, "--cnn_depth=16")
    assert "exists; use another --logdir" in refused(*good, f"--logdir={path.parent}")
    assert list(tmp_path.iterdir()) == [] and list(path.parent.iterdir()) == [path]
    target = tmp_path / "ran"
    attack = tmp_path / "attack.pkl"
    attack.write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(target))
    assert "it wants 'os.system'" in refused("checkpoint", f"--pickle={attack}", new)
    assert not target.exists()


def test_a_logdir_that_cannot_be_made(full_size, call, tmp_path):
    path, _ = full_size
    (tmp_path / "file").write_text("mine")
    code, out, err = call("checkpoint", f"--pickle={path}", f"--logdir={tmp_path}/file/run")
    assert (code, out, len(err)) == (1, [], 1) and "file" in err[0]


# episodes


def episode(seed, frames=9, kind="float32"):
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (frames, 64, 64, 3), np.uint8),
        "action": random.uniform(-1, 1, (frames, 2)).astype(kind),
        "reward": random.uniform(0, 1, frames).astype(kind),
        "discount": np.ones(frames, kind),
    }


@pytest.fixture
def both(tmp_path):
    """(folder of a run of ours, folder of the original's episodes)."""
    for number in range(4):
        save_episode(tmp_path / "ours" / "episodes", number, episode(number, 9 + number))
    folder = tmp_path / "its"
    folder.mkdir()
    for number in range(2):
        name = folder / f"20200101T00000{number}-ab-11.npz"
        np.savez_compressed(name, **episode(9 + number, 11, "float16"), height=np.zeros(11))
    return tmp_path / "ours", folder


@pytest.fixture
def original(tmp_path):
    """Function that writes a checkout, `after` its own code; the options that name it."""

    def write(after=""):
        folder = tmp_path / "dreamer ü"
        folder.mkdir(exist_ok=True)
        (folder / "tools.py").write_text(TOOLS + textwrap.dedent(after))
        return f"--dreamer_dir={folder}", f"--dreamer_python={sys.executable}"

    return write


def contents(*folders):
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


def test_episodes_in_both_directions(both, original, call):
    ours, its = both
    before = contents(*both)
    words = [f"--logdir={ours}", f"--dreamer_episodes={its}", "--count=3", "--length=9"]
    code, out, err = call("episodes", *words, *original())
    assert (code, err, out[-1]) == (0, [], "all agree")
    rows = [line.split() for line in out if line.endswith("same")]
    # 3 of 4 files of ours, 2 of its; two returns in each line agree.
    names = ["000000-9.npz", "000001-10.npz", "000003-12.npz"]
    assert [row[0] for row in rows][:3] == names and len(rows) == 5
    assert [row[1] for row in rows] == ["9", "10", "12", "11", "11"]
    assert all(row[2] == row[3] for row in rows)
    assert rows[0][2] == f"{episode(0)['reward'].astype('f8').sum():.3f}"
    assert "counted: 3 episodes, 28 agent steps; by it 3 and 28" in out
    assert "counted: 2 episodes, 20 agent steps; by it 2 and 20" in out
    assert "keys: image uint8, action float16, reward float16, discount float16" in out
    assert contents(*both) == before


def test_episodes_without_the_original(both, call):
    code, out, err = call("episodes", f"--dreamer_episodes={both[1]}")
    assert (code, err, out[-1]) == (0, [], "all agree")
    assert len([line for line in out if line.endswith("same")]) == 2


CHANGES = {
    "value": """
        def load_episodes(*args, load=load_episodes, **kwargs):
            for episode in load(*args, **kwargs):
                episode["image"][-1, 5, 5, 0] ^= 1
                yield episode
        """,
    "dtype": """
        def load_episodes(*args, load=load_episodes, **kwargs):
            for episode in load(*args, **kwargs):
                yield {**episode, "discount": episode["discount"].astype("float64")}
        """,
    "sequence": """
        def load_episodes(directory, rescan, length=None, load=load_episodes):
            for episode in load(directory, rescan, length):
                yield {key: value[::-1] for key, value in episode.items()} if length else episode
        """,
    "written": """
        def save_episodes(directory, episodes, save=save_episodes):
            save(directory, [{**one, "reward": one["reward"] / 3} for one in episodes])
        """,
    "count": """
        def count_episodes(directory, count=count_episodes):
            return count(directory)[0], 7
        """,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_differs_is_seen(kind, both, original, call):
    words = [f"--logdir={both[0]}", "--count=1", "--length=4", *original(CHANGES[kind])]
    code, out, err = call("episodes", *words)
    assert (code, err, out[-1]) == (1, [], "something DIFFERS")
    assert any(line.endswith("DIFFERS") for line in out[:-1]) == (kind != "count")


def test_files_that_are_no_episodes(both, call):
    its = both[1]
    (its / "20200101T000009-ab-11.npz").write_bytes(b"hello")
    short = {key: value[:5] for key, value in episode(5).items()}
    np.savez(its / "20200101T000008-ab-9.npz", **{**episode(5), "reward": short["reward"]})
    before = contents(its)
    code, out, _ = call("episodes", f"--dreamer_episodes={its}")
    assert code == 1 and [line for line in out if "unread" in line]
    assert sum(line.endswith("DIFFERS") for line in out[:-1]) == 2
    assert contents(its) == before  # Nothing is set aside in folders of others.


def test_episodes_refusals(both, original, refused, tmp_path):
    ours = both[0]
    assert "give --dreamer_episodes" in refused("episodes", f"--logdir={ours}")
    assert "give --dreamer_episodes" in refused("episodes")
    options = original()
    assert "go together" in refused("episodes", f"--logdir={ours}", options[0])
    empty = tmp_path / "empty"
    assert "no episodes there" in refused("episodes", f"--dreamer_episodes={empty}")
    assert "no episodes there" in refused("episodes", f"--logdir={empty}", *options)
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o700)
    said = refused("episodes", f"--logdir={ours}", options[0], f"--dreamer_python={script}")
    assert "said 'hello', not episodes, steps" in said
    words = ["episodes", f"--logdir={ours}", "--count=1"]
    assert "no tools.py" in refused(*words, f"--dreamer_dir={ours}", options[1])
    assert "cannot run" in refused(*words, options[0], f"--dreamer_python={empty}")
    for after, part in {
        "raise RuntimeError('too old')": "exit code 1: RuntimeError: too old",
        "import sys; sys.exit(0)": "exit code 0: it said nothing",
        "import os; os._exit(3)": "exit code 3: it said nothing",
    }.items():
        assert part in refused(*words, *original(after))


def test_sequences_longer_than_an_episode_are_not_waited_for():
    """The original's generator would look for one for ever."""

    class Forever:
        @staticmethod
        def load_episodes(folder, rescan, length=None):
            assert length is None
            yield episode(0)

        @staticmethod
        def save_episodes(folder, episodes):
            assert folder.name == "read" and len(episodes[0]["reward"]) == 9

        @staticmethod
        def count_episodes(folder):
            return 3, 4

    answer = original_code.episodes(Forever, ".", 9)
    assert answer == {"episodes": 3, "steps": 4}


# curves


def metrics(folder, returns, key="test/return"):
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": step, key: value}) for step, value in returns.items()]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    """(a run of ours, one of the original in folders named as its README does)."""
    ours = metrics(tmp_path / "ours", {5000: 80.0, 15000: 120.0, 25000: 200.0})
    (ours / "run.flags").write_text(to_flagfile(Config(**DREAMER)))
    its = tmp_path / "dmc_walker_walk" / "dreamer" / "0"
    return ours, metrics(its, {5000: 60.0, 15000: float("nan"), 25000: 90.0})


def test_curves(runs, call, tmp_path):
    ours, its = runs
    words = [f"--logdir={ours}", f"--dreamer_logdir={its}", f"--out={tmp_path}/c.png"]
    code, out, err = call("curves", *words, "--steps=5000,25000")
    assert (code, err) == (0, [])
    rows = [re.split(r"\s*\|\s*", line)[1:6] for line in out if line.startswith("| walker_walk")]
    assert rows == [
        ["walker_walk", "Dreamer", "5K", "1", "80.0"],
        ["walker_walk", "Dreamer", "25K", "1", "200.0"],
        ["walker_walk", "Dreamer (original code)", "5K", "1", "60.0"],
        ["walker_walk", "Dreamer (original code)", "25K", "1", "90.0"],
    ]
    picture = matplotlib.image.imread(tmp_path / "c.png")
    colours = {tuple(pixel) for pixel in picture[:, :, :3].reshape(-1, 3).round(2)}
    assert min(picture.shape[:2]) > 300 and len(colours) > 10
    code, out, err = call("curves", *words, f"--table={tmp_path}/t.csv")
    assert (code, out, err) == (0, [], [])
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 3 and "Dreamer (original code)" in lines[2] and ",90.0," in lines[2]


def test_curves_of_a_folder_of_any_name(runs, call, refused, tmp_path):
    """It is of our run's task, if that is one."""
    other = metrics(tmp_path / "anything", {5000: 61.0})
    words = ["curves", f"--out={tmp_path}/c.svg", "--logdir", runs[0]]
    code, out, _ = call(*words, "--dreamer_logdir", other)
    assert code == 0 and any("(original code)" in line and "61.0" in line for line in out)
    # Several, by their folder or a glob, are several seeds.
    metrics(tmp_path / "theirs" / "run0", {5000: 61.0})
    metrics(tmp_path / "theirs" / "run1", {5000: 63.0})
    for pattern in ("theirs", "theirs/*"):
        code, out, err = call(*words, "--dreamer_logdir", f"{tmp_path}/{pattern}")
        (row,) = (line for line in out if "(original code)" in line)
        assert (code, err) == (0, []) and "62.0 ± 1.4" in row
    second = metrics(tmp_path / "second", {5000: 10.0})
    (second / "run.flags").write_text(to_flagfile(Config(task="cheetah_run")))
    assert "--label" in refused(*words, second, "--dreamer_logdir", other)


def test_curves_refusals(runs, refused, tmp_path):
    ours, its = runs
    out = f"--out={tmp_path}/c.png"
    good = ["curves", f"--logdir={ours}", f"--dreamer_logdir={its}"]
    assert "must end in" in refused(*good, f"--out={tmp_path}/c.gif")
    assert "no such folder" in refused(*good, f"--out={tmp_path}/none/c.png")
    assert "--table=" in refused(*good, out, f"--table={tmp_path}/t.txt")
    assert "is no run of clion_tf" in refused(
        "curves", out, f"--logdir={its}", f"--dreamer_logdir={its}"
    )
    assert "is a run of clion_tf" in refused(
        "curves", out, f"--logdir={ours}", f"--dreamer_logdir={ours}"
    )
    assert "none" in refused("curves", out, f"--logdir={ours}", f"--dreamer_logdir={tmp_path}/none")
    (tmp_path / "nothing").mkdir()
    nothing = f"--dreamer_logdir={tmp_path}/nothing"
    assert "no run in" in refused("curves", out, f"--logdir={ours}", nothing)
    empty = metrics(tmp_path / "dmc_walker_walk" / "dreamer" / "1", {})
    assert "no test return" in refused(
        "curves", out, f"--logdir={ours}", f"--dreamer_logdir={empty}"
    )
    assert not (tmp_path / "c.png").exists()


def test_the_command_itself(both):
    """From another folder, on a terminal that is none."""
    result = subprocess.run(
        [sys.executable, TOOL, "episodes", "--dreamer_episodes=its"],
        cwd=both[1].parent,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "all agree"


# docs/dreamer.md


def test_names_of_ours_in_the_map_exist():
    """Every `file.py` and `file.py: name` of the map's second column."""
    text = (ROOT / "docs" / "dreamer.md").read_text()
    found = re.findall(r"^\| [^|]+ \| ([^|]+) \|", text, re.M)
    named = [
        (path, [name.strip("` ") for name in names.split(",")] if names else [])
        for cell in found
        for path, names in re.findall(r"`([\w/]+\.py)`(?:: ((?:`[\w.]+`(?:, )?)+))?", cell)
    ]
    assert len(named) > 60
    for path, names in named:
        places = [ROOT / path, ROOT / "clion_tf" / path]
        file = next((place for place in places if place.is_file()), None)
        assert file, path
        source = file.read_text()
        for name in names:
            leaf = name.split(".")[-1]
            pattern = rf"^\s*(?:def|class) {leaf}\b|^\s*{leaf}(?:: [^=]+)? ?="
            assert re.search(pattern, source, re.M), f"{path}: {name}"
