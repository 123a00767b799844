"""The files in flags/: each parses, says what it is for, and holds no more than it must.

They go by name as presets.
"""

import dataclasses
import pathlib

import pytest

from clion_tf.config import DREAMER, Config, ConfigError, parse, usage
from clion_tf.files import preset_names

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "flags"
FILES = sorted(FOLDER.glob("*.flags"))
DEFAULTS = dataclasses.asdict(Config())
EXPECTED = {  # One for each experiment of the specification, and those to begin with.
    "clion", "dreamer", "doubled_dreamer", "ablation_constraints", "ablation_evaluator",
    "ablation_no_evaluator", "table1_rotation", "table2", "table3_literal", "fig3_unconstrained",
    "control_sigma_h0", "control_sigma1_0", "augmentations2", "cpu", "bf16", "debug",
    "drq", "drq_cpu", "fig6_same", "fig6_independent",
}  # fmt: skip


def options(*names):
    """What the files, one after the other, make different from the defaults."""
    config = parse(f"--flagfile={FOLDER / name}.flags" for name in names)
    return {k: v for k, v in dataclasses.asdict(config).items() if v != DEFAULTS[k]}


def lines(path):
    text = path.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line.startswith("#")], [
        line for line in text if not line.startswith("#")
    ]


def test_every_experiment_has_a_file():
    assert {path.stem for path in FILES} == EXPECTED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_says_what_it_is_and_only_what_differs(path):
    comments, flags = lines(path)
    assert path.read_text().startswith("# ") and len(comments[0]) > 20
    names = [line.removeprefix("--").split("=")[0] for line in flags]
    assert set(names) == set(options(path.stem)) and len(names) == len(set(names))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_commands_in_comments_name_files_that_exist(path):
    comments, _ = lines(path)
    commands = [line.strip("# ") for line in comments if "--flagfile=" in line]
    for command in commands:
        words = [word.replace("flags/", f"{FOLDER}/") for word in command.split()]
        parse(words)
        assert any(str(path) in word for word in words)


def test_clion_is_the_default_and_dreamer_has_it_all_off():
    assert options("clion") == {}
    assert options("dreamer") == DREAMER
    assert options("doubled_dreamer") == {**DREAMER, "batch_size": 100}


def test_dreamer_is_what_the_golden_numbers_are_compared_with():
    from clion_tf.dreamer import parity  # Here, for it loads TensorFlow.

    assert options("dreamer") == parity.DREAMER


def test_ablations_are_one_part_each():
    off = {name: options(f"ablation_{name}").keys() for name in ("constraints", "evaluator")}
    assert off["constraints"] == {"augmentations", "evaluator"}
    assert off["evaluator"] == {"beta1", "beta2", "augmentations"}
    assert options("ablation_no_evaluator") == {"evaluator": False}


def test_table3_is_the_printed_one():
    assert options("table3_literal") == {"batch_length": 15, "horizon": 50}


def test_drq_counts_environment_steps():
    """1000 seed steps, 100,000 transitions and an update a step are agent steps in its code."""
    drq = parse([f"--flagfile={FOLDER}/drq.flags"])
    assert drq.prefill == 1000 * drq.action_repeat
    assert drq.replay_capacity == 100_000 * drq.action_repeat
    assert drq.train_steps * drq.action_repeat == drq.train_every


def test_figure_6_is_one_kind_of_rotation_each():
    same, independent = options("drq", "fig6_same"), options("drq", "fig6_independent")
    assert same == {**independent, "stack_rotation": "same"}
    assert independent["rotation_degrees"] == 5.0 and independent["batch_size"] == 512


def test_files_combine_and_later_ones_win():
    both = options("table1_rotation", "dreamer")
    assert both == {**DREAMER, "steps": 505_000, "rotation_degrees": 5.0}
    assert options("cpu", "debug")["batch_size"] == options("debug")["batch_size"] == 4
    assert options("debug", "cpu")["batch_size"] == options("cpu")["batch_size"] == 16
    assert options("table1_rotation", "table2")["steps"] == 500_000


def test_rotation_is_the_same_in_testing():
    assert parse([f"--flagfile={FOLDER}/table1_rotation.flags"]).test_rotation == 5.0


def test_evaluations_fall_on_the_scores_of_the_tables():
    for name, scores in (("table1_rotation", (105_000, 505_000)), ("table2", (100_000, 500_000))):
        config = parse([f"--flagfile={FOLDER}/{name}.flags"])
        due = range(config.prefill, config.steps + 1, config.eval_every)
        assert all(score in due or score == config.steps for score in scores)


def test_presets_go_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "debug").mkdir()  # A folder is no flagfile.
    for path in FILES:
        by_path = parse([f"--flagfile={path}"])
        for words in ([f"--flagfile={path.stem}"], ["--flagfile", f"{path.stem}.flags"]):
            assert parse(words) == by_path
    assert preset_names() == [path.stem for path in FILES]
    assert all(name in usage() for name in EXPECTED)


def test_a_file_is_taken_before_a_preset_and_may_name_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cpu").write_text("--flagfile=debug\n--horizon=7\n")
    config = parse(["--flagfile=cpu"])
    assert config.horizon == 7 and config.deter_size == options("debug")["deter_size"]
    assert config.cnn_depth == options("debug")["cnn_depth"]


@pytest.mark.parametrize("name", ["cpuu", "flags/cpu.flags", "./cpu", "debug/.."])
def test_what_is_no_flagfile_is_refused_with_the_presets(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.flags").write_text(f"--flagfile={name}\n")
    for word in (name, "mine.flags"):
        with pytest.raises(ConfigError) as refused:
            parse([f"--flagfile={word}"])
        text = str(refused.value)
        assert text.startswith(f"--flagfile={name}: no file '{name}'; presets, by name: ")
        assert "\n" not in text and all(preset in text for preset in EXPECTED)


def test_a_flagfile_of_a_name_that_no_file_can_have():
    with pytest.raises(ConfigError, match=r"--flagfile=a+: .*File name too long"):
        parse([f"--flagfile={'a' * 300}"])
