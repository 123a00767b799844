"""What runs are called."""

import dataclasses

import pytest
from runs import options

from clion_tf.analysis.curves import method_names
from clion_tf.config import Config


@pytest.mark.parametrize(
    "files, method",
    [
        (["clion"], "CLION"),
        (["table1_rotation"], "CLION"),
        (["table2", "dreamer"], "Dreamer"),
        (["doubled_dreamer"], "Doubled-Dreamer"),
        (["ablation_constraints"], "Only adding constraint"),
        (["ablation_evaluator"], "Only adding EVA"),
        (["ablation_no_evaluator"], "Augmentation w/o EVA"),
        (["control_sigma1_0"], "CLION (sigma1=0)"),
        (["control_sigma_h0"], "CLION (sigma_h=0)"),
        (["augmentations2"], "CLION (augmentations=2)"),
        (["fig3_unconstrained"], "CLION (beta1=0, beta2=0)"),
        (["bf16"], "CLION"),
        (["table1_rotation", "ablation_evaluator"], "Only adding EVA"),
    ],
)
def test_methods_are_named_as_in_the_paper(files, method):
    assert method_names.describe(options(*files)) == (method, "")


def test_sizes_are_named():
    assert method_names.describe(options("cpu")) == ("CLION", "cpu sizes")
    assert method_names.describe(options("cpu", "dreamer")) == ("Dreamer", "cpu sizes")
    assert method_names.describe(options("debug")) == ("CLION", "debug sizes")
    assert method_names.describe(options("cpu", horizon=9)) == ("CLION", "cpu sizes, horizon=9")
    assert method_names.describe(options(actor_lr=0.001)) == ("CLION", "actor_lr=0.001")
    assert method_names.describe(options(eval_action="mean")) == ("CLION", "eval_action=mean")


def test_how_data_is_gathered_and_kept_tells_runs_apart():
    assert method_names.describe(options(envs=8)) == ("CLION", "envs=8")
    assert method_names.describe(options(replay_capacity=20_000)) == (
        "CLION",
        "replay_capacity=20000",
    )
    assert method_names.describe(options("drq", envs=2)) == ("DrQ", "envs=2")


def test_what_is_done_to_frames_tells_runs_apart():
    rotated = {"rotation_degrees": 5}
    for name, value in (("rotation_per", "episode"), ("rotation_fill", "black")):
        assert method_names.describe(options("cpu", **rotated, **{name: value})) == (
            "CLION", f"cpu sizes, {name}={value}"
        )  # fmt: skip
    assert method_names.describe(options("drq", blank_frames=0.5)) == ("DrQ", "blank_frames=0.5")
    assert method_names.describe(options(test_blank_frames=0.5)) == (
        "CLION",
        "test_blank_frames=0.5",
    )
    both = options(blank_frames=0.2, test_blank_frames=0.2)
    assert method_names.describe(both) == ("CLION", "blank_frames=0.2")


def test_rotation_options_count_where_something_is_rotated():
    both = {"rotation_per": "episode", "rotation_fill": "black"}
    assert method_names.describe(options("dreamer", **both)) == ("Dreamer", "")
    assert method_names.describe(options("drq", **both)) == ("DrQ", "")
    # The embedding constraint rotates images of its own.
    assert method_names.describe(options(**both)) == ("CLION", "rotation_fill=black")
    rotated = options("table1_rotation", "dreamer", rotation_fill="black")
    assert method_names.describe(rotated) == ("Dreamer", "rotation_fill=black")


def test_doubled_is_relative_to_the_sizes():
    config = options("cpu", "dreamer", batch_size=32)
    assert method_names.describe(config) == ("Doubled-Dreamer", "cpu sizes")
    assert method_names.describe(options("dreamer", batch_size=32)) == ("Dreamer", "batch_size=32")


@pytest.mark.parametrize(
    ("files", "options_", "method"),
    [
        (["dreamer"], {"from_start": True}, "Dreamer (from_start=True)"),
        (["clion"], {"from_start": False}, "CLION (from_start=False)"),
        (["clion"], {"constraint_norm": "euclidean"}, "CLION (constraint_norm=euclidean)"),
        (["dreamer"], {"constraint_norm": "euclidean"}, "Dreamer"),
        (["ablation_constraints"], {"sigma_units": "relative"},
         "Only adding constraint (sigma_units=relative)"),
        (["ablation_evaluator"], {"sigma_units": "relative"}, "Only adding EVA"),
        (["clion"], {"overshoot_from": "both"}, "CLION (overshoot_from=both)"),
        (["ablation_evaluator"], {"overshoot_from": "both"}, "Only adding EVA"),
        (["ablation_no_evaluator"], {"overshoot_from": "both"}, "Augmentation w/o EVA"),
    ],
)  # fmt: skip
def test_readings_of_what_is_on_tell_methods_apart(files, options_, method):
    assert method_names.describe(options(*files, **options_)) == (method, "")


def test_options_that_are_off_do_not_tell_runs_apart():
    assert method_names.describe(options("dreamer", sigma1=3, evaluator_lr=1)) == ("Dreamer", "")
    assert method_names.describe(options("dreamer", device="cpu", steps=9)) == ("Dreamer", "")


def test_every_method_option_exists():
    known = {field.name for field in dataclasses.fields(Config)}
    dependent = {name for names in method_names.DEPENDENT.values() for name in names}
    assert {
        *method_names.METHOD_OPTIONS,
        *method_names.JUDGING,
        *method_names.ELSEWHERE,
    } | dependent <= known


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["drq"], ("DrQ", "")),
        (["drq", "table2"], ("DrQ", "")),
        (["drq", "drq_cpu"], ("DrQ", "cpu sizes")),
        (["drq", "fig6_independent"], ("DrQ", "")),
        (["drq", "fig6_same"], ("DrQ (stack_rotation=same)", "")),
        (["drq", "cpu"], ("DrQ", "batch_size=16")),
    ],
)
def test_drq_is_named(files, expected):
    assert method_names.describe(options(*files)) == expected


def test_drq_differs_by_its_own_options():
    config = options("drq", drq_pad=0, sigma1=3.0, horizon=9, model_lr=1.0)
    assert method_names.describe(config) == ("DrQ", "drq_pad=0")
