"""Tasks x methods x seeds: which runs, with which options; and what is refused."""

import pathlib

import pytest

from clion_tf.analysis.curves.method_names import describe
from clion_tf.command import UsageError
from clion_tf.config import Config, ConfigError, parse
from clion_tf.sweep.sweep_plan import plan_runs

CPU = "cpu"
METHODS = [
    "clion", "dreamer", "doubled_dreamer", "ablation_constraints", "ablation_evaluator",
    "ablation_no_evaluator", "control_sigma_h0", "control_sigma1_0",
]  # fmt: skip


def plan(tasks=("walker_walk",), methods=("clion",), seeds=(0,), flagfiles=(), options=()):
    shared = [*(f"--flagfile={name}" for name in flagfiles), *options]
    return plan_runs(pathlib.Path("/sweeps/one"), tasks, methods, seeds, shared)


def test_every_combination_once_and_whole_seeds_first():
    runs = plan(("walker_walk", "hopper_stand"), ("clion", "dreamer"), (0, 7))
    assert [run.name for run in runs] == [
        "walker_walk/clion/seed0", "walker_walk/dreamer/seed0",
        "hopper_stand/clion/seed0", "hopper_stand/dreamer/seed0",
        "walker_walk/clion/seed7", "walker_walk/dreamer/seed7",
        "hopper_stand/clion/seed7", "hopper_stand/dreamer/seed7",
    ]  # fmt: skip
    last = runs[-1]
    assert last.folder.path == pathlib.Path("/sweeps/one/hopper_stand/dreamer/seed7")
    assert (last.config.task, last.config.seed) == ("hopper_stand", 7)
    assert not last.config.evaluator and runs[0].config.evaluator


@pytest.mark.parametrize("flagfiles, sizes", [([], ""), ([CPU], "cpu sizes")])
def test_methods_are_what_they_are_called_at_all_sizes(flagfiles, sizes):
    """Whatever the sizes, a method is the paper's, and Doubled-Dreamer has twice the batch."""
    names = {run.name.split("/")[1]: describe(run.config) for run in plan((
        "walker_walk",), METHODS, (0,), flagfiles)}  # fmt: skip
    assert names == {
        "clion": ("CLION", sizes), "dreamer": ("Dreamer", sizes),
        "doubled_dreamer": ("Doubled-Dreamer", sizes),
        "ablation_constraints": ("Only adding constraint", sizes),
        "ablation_evaluator": ("Only adding EVA", sizes),
        "ablation_no_evaluator": ("Augmentation w/o EVA", sizes),
        "control_sigma_h0": ("CLION (sigma_h=0)", sizes),
        "control_sigma1_0": ("CLION (sigma1=0)", sizes),
    }  # fmt: skip


def test_drq_beside_the_papers_agents():
    """Table 2's three columns; DrQ's sizes are its own."""
    runs = plan(methods=("clion", "dreamer", "drq"), flagfiles=["table2"])
    assert [describe(run.config) for run in runs] == [("CLION", ""), ("Dreamer", ""), ("DrQ", "")]
    assert [run.config.batch_size for run in runs] == [50, 50, 512]
    assert len({run.config.steps for run in runs}) == 1


def test_batches():
    def batches(**given):
        return [run.config.batch_size for run in plan(methods=METHODS[:3], **given)]

    assert batches() == [50, 50, 100]
    assert batches(flagfiles=[CPU]) == [16, 16, 32]
    assert batches(flagfiles=[CPU], options=["--batch_size=5"]) == [5, 5, 10]


def test_a_method_wins_over_the_options_of_all():
    clion, dreamer = plan(methods=METHODS[:2], options=["--augmentations=2", "--steps=600000"])
    assert (clion.config.augmentations, dreamer.config.augmentations) == (2, 0)
    assert clion.config.steps == dreamer.config.steps == 600_000


def test_words_alone_make_the_run():
    for run in plan(methods=METHODS, flagfiles=[CPU], options=["--rotation_degrees=5"]):
        assert not any("flagfile" in word for word in run.words)
        assert parse(run.words) == run.config


def test_a_method_of_ones_own_and_a_task_of_ones_own(tmp_path):
    (tmp_path / "bold.flags").write_text("# Much noise.\n--sigma1=0.5\n")
    (run,) = plan(["my.envs:maze/1"], [str(tmp_path / "bold.flags")])
    assert run.name == "my.envs_maze_1/bold/seed0" and run.config.sigma1 == 0.5
    assert run.config.task == "my.envs:maze/1"


@pytest.mark.parametrize(
    "given, text",
    [
        ({"tasks": []}, "--tasks: names none"),
        ({"seeds": [1, 1]}, "clion/seed1 would be the same run"),
        ({"methods": ["clon"]}, "--methods=clon: no file 'clon'; presets, by name: ablation_"),
        ({"methods": ["cpu"]}, "no multiple of the paper's 50"),
        (
            {"methods": ["dreamer"], "flagfiles": ["drq"]},
            "--methods=dreamer: options of all runs make it another agent",
        ),
        ({"methods": ["clion", "bf16"]}, "seed0 and walker_walk/bf16/seed0 would be the same run"),
        ({"tasks": ["walker_walk", "dmc_walker_walk"]}, "would be the same run"),
        ({"tasks": ["a:b", "a_b"]}, "a_b/clion/seed0 would be the same run"),
        ({"options": ["--seed=3"]}, "--seed=3: the sweep says that"),
        ({"options": ["--horizon=0"]}, "--horizon=0"),
        ({"options": ["--horizn=9"]}, "horizn"),
        ({"flagfiles": ["no/such.flags"]}, "no/such.flags"),
        ({"flagfiles": ["cpuu"]}, "--flagfile=cpuu: no file 'cpuu'; presets, by name: ablation_"),
    ],
)
def test_refused(given, text):
    with pytest.raises((UsageError, ConfigError)) as refused:
        plan(**given)
    assert text in str(refused.value) and "\n" not in str(refused.value)


def test_a_method_that_names_a_task(tmp_path):
    (tmp_path / "odd.flags").write_text("--task=hopper_stand\n")
    with pytest.raises(UsageError, match="--task=hopper_stand: the sweep says that"):
        plan(methods=[str(tmp_path / "odd.flags")])
    assert Config().task == "walker_walk"
