"""The table of options: what it refuses, what it saves, and that nothing in it is idle."""

import ast
import collections
import dataclasses
import functools
import math
import pathlib
import types

import pytest

from clion_tf import config as configuration
from clion_tf.config import (
    MAY_BE_0,
    Config,
    ConfigError,
    changed,
    from_flagfile,
    parse,
    to_flagfile,
)
from clion_tf.envs import EnvSpec

PACKAGE = pathlib.Path(configuration.__file__).parent
FIELDS = {field.name: field for field in dataclasses.fields(Config)}
FLOATS = [name for name, field in FIELDS.items() if isinstance(field.default, float)]
NUMBERS = [name for name, field in FIELDS.items() if type(field.default) in (int, float)]
MAY_CHANGE = {
    "logdir", "steps", "eval_every", "eval_episodes", "log_every", "log_images", "video",
    "save_every", "save_seconds",
    "keep_checkpoints", "device", "precision", "deterministic", "jit", "worker_timeout",
    "env_restarts", "episode_failures", "lock", "replay_capacity", "max_bad_updates",
    "eval_action", "eval_noise", "updates_per_call", "envs", "strategy", "summary",
}  # fmt: skip


def other(field):
    """Another value that is possible by itself."""
    choices, value = field.metadata["choices"], field.default
    if field.name == "replay_capacity":
        return 5000
    if field.name == "stack_rotation":
        return value  # Another needs --agent=drq.
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2
    return "dmc_cup_catch"


def test_flagfile_round_trip():
    for name, field in FIELDS.items():
        config = Config(**{name: other(field)})
        assert from_flagfile(to_flagfile(config)) == config, name


def test_flagfile_keeps_every_digit_and_odd_words():
    config = Config(model_lr=1 / 3, beta1=1e-17, logdir="/tmp/a folder/ü=#1", seed=2**40)
    assert from_flagfile(to_flagfile(config)) == config
    assert len(to_flagfile(config).splitlines()) == len(FIELDS)


IMPOSSIBLE = [
    *((name, 0) for name in NUMBERS if FIELDS[name].default > 0 and name not in MAY_BE_0),
    *((name, -1) for name in NUMBERS if FIELDS[name].default >= 0),
    *((name, -0.5) for name in FLOATS if FIELDS[name].default >= 0),
    *((name, math.nan) for name in FLOATS),
    *((name, math.inf) for name in FLOATS),
    *((name, "nonsense") for name, field in FIELDS.items() if field.metadata["choices"]),
    ("discount", 1.01),
    ("discount", -0.01),
    ("disclam", 1.01),
    ("disclam", -0.01),
    ("batch_length", 502),
    ("batch_length", 1),
    ("prefill", 999),
    ("replay_capacity", 999),
    ("stack_rotation", "same"),
    ("drq_image_size", 14),
    ("drq_tau", 1.01),
    ("blank_frames", 1.01),
    ("test_blank_frames", 1.01),
    ("worker_timeout", 1e7),
]


def test_impossible_values_are_refused_by_name():
    for name, value in IMPOSSIBLE:
        with pytest.raises(ConfigError) as error:
            Config(**{name: value})
        assert f"--{name}=" in str(error.value) and "\n" not in str(error.value), (name, value)
    with pytest.raises(ConfigError, match="--weighting=ratio: a density ratio needs"):
        Config(weighting="ratio", evaluator_objective="difference")
    with pytest.raises(ConfigError, match=r"--sigma_inference=1.*needs --strategy=none"):
        Config(sigma_inference=1.0, sigma_units="relative", strategy="mirrored")
    with pytest.raises(ConfigError, match=r"--sigma_inference=1.*needs --batch_size above 1"):
        Config(sigma_inference=1.0, sigma_units="relative", batch_size=1)
    with pytest.raises(ConfigError, match="--horizon=1: of one step needs --from_start"):
        Config(horizon=1, from_start=False)
    with pytest.raises(ConfigError, match=r"--expl_amount=0\.0: makes no action random"):
        Config(expl="completely_random", expl_amount=0.0)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_length": 501},
        {"batch_length": 1001, "action_repeat": 1},
        {"time_limit": 99, "batch_length": 50, "prefill": 99},
        {"weighting": "ratio", "evaluator_objective": "bce"},
        {"weighting": "ratio", "evaluator_objective": "difference", "evaluator": False},
        # DrQ reads none of these.
        {"agent": "drq", "batch_length": 1, "horizon": 1, "from_start": False},
        {"agent": "drq", "weighting": "ratio", "evaluator_objective": "difference"},
        {"beta1": 0, "beta2": 0, "augmentations": 0, "sigma1": 0, "sigma_h": 0, "overshoot": 0},
        {"discount": 1.0, "disclam": 0.0},
        {"test_rotation_degrees": -1.0, "sigma2": -1.0, "test_blank_frames": -1.0},
        {"blank_frames": 1.0, "test_blank_frames": 0.0},
        {"agent": "drq", "stack_rotation": "same", "drq_image_size": 15, "drq_tau": 1.0},
        {"pretrain": 0, "expl_amount": 0, "horizon": 2, "batch_length": 2},
    ],
)
def test_edges_are_accepted(options):
    Config(**options)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--bacth_size=3"], "bacth_size"),
        (["--batch_size=many"], "batch_size"),
        (["--batch_size=1.5"], "batch_size"),
        (["--evaluator=perhaps"], "evaluator"),
        (["--batch_size"], "batch_size"),
        (["--dense_act=swish"], "elu, relu, leaky_relu"),
        (["walker_walk"], "'walker_walk'"),
        (["--flagfile=/nowhere/x.flags"], "/nowhere/x.flags"),
        (["--", "--batch_size=3"], "--batch_size=3"),
    ],
)
def test_command_line_errors_are_one_line(words, message):
    with pytest.raises(ConfigError) as error:
        parse(words)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_parse_forms(tmp_path):
    flagfile = tmp_path / "a file.flags"
    flagfile.write_text("# a comment\n\n--batch_size=7\n--noevaluator\n")
    config = parse(
        [f"--flagfile={flagfile}", "--horizon", "9", "--nolog_images", "--dataset_balance"]
    )
    assert (config.batch_size, config.horizon) == (7, 9)
    assert (config.evaluator, config.log_images, config.dataset_balance) == (False, False, True)
    assert parse([]) == Config()


def test_drq_refuses_an_exploration_that_it_has_not():
    with pytest.raises(ConfigError, match="--expl=epsilon_greedy"):
        Config(agent="drq", expl="epsilon_greedy")


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().steps = 3


def test_changed_lists_only_what_may_not_change():
    assert {name for name, field in FIELDS.items() if field.metadata["resume"]} == MAY_CHANGE
    for name, field in FIELDS.items():
        new = other(field)
        differences = changed(Config(), Config(**{name: new}))
        if name in MAY_CHANGE or new == field.default:
            assert differences == {}
        else:
            assert differences == {name: (field.default, new)}


def test_every_option_says_what_it_does_and_whence():
    for name, field in FIELDS.items():
        assert len(field.metadata["help"]) > 15, name
        assert field.metadata["help"].endswith("."), name
        assert field.metadata["source"] in ("CLION", "Dreamer", "DrQ", "ours"), name
        assert not field.metadata["choices"] or field.default in field.metadata["choices"], name
    shown = configuration.usage(full=True)
    assert all(f"  --{name}:" in shown or f"  --[no]{name}:" in shown for name in FIELDS)


def test_every_number_may_be_what_is_said_of_it():
    assert {name for name in NUMBERS if FIELDS[name].default < 0} == {
        "test_rotation_degrees", "test_blank_frames", "sigma2",
    }  # fmt: skip
    for name in MAY_BE_0:
        if name != "prefill":  # Needs an episode.
            options = {"save_seconds": 1.0} if name == "save_every" else {}
            Config(**{name: 0}, **options)


# What a run consists of; what only looks at runs, as analysis does, gives an option no effect.
RUN = ("run", "agents", "distributed", "envs", "learning", "logdir", "models", "replay", "training")


@functools.cache
def readings():
    """{attribute: {the object's name}} of what a run reads."""
    found = collections.defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if part in RUN else ():
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                holder = ast.unparse(node.value).split(".")[-1].lstrip("_")
                found[node.attr].add(holder)
    return found


def test_every_option_is_read():
    """As config.name."""
    derived = {
        "test_rotation_degrees": "test_rotation", "test_blank_frames": "test_blank",
        "overshoot": "overshoot_steps", "overshoot_from": "fakes_from",
        "pcont": "predicts_discount",
        "replay_capacity": "replay_transitions",
        **dict.fromkeys(("expl_amount", "expl_decay", "expl_min"), "exploration"),
    }  # fmt: skip
    kinds = property | types.FunctionType
    own = {n for n, value in vars(Config).items() if isinstance(value, kinds) and n[0] != "_"}
    assert set(derived.values()) == own
    names = {derived.get(name, name) for name in FIELDS}
    of_tasks = {field.name for field in dataclasses.fields(EnvSpec)}  # Filled by name.
    names -= of_tasks
    assert [name for name in sorted(names) if "config" not in readings()[name]] == []


def test_derived_options():
    assert Config(rotation_degrees=5.0).test_rotation == 5.0
    assert Config(rotation_degrees=5.0, test_rotation_degrees=0.0).test_rotation == 0.0
    assert Config(blank_frames=0.5).test_blank == 0.5
    assert Config(blank_frames=0.5, test_blank_frames=0.0).test_blank == 0.0
    assert Config(horizon=7).overshoot_steps == 7
    assert Config(overshoot=3).overshoot_steps == 3
    # Without augmented copies no noised start is ever judged.
    assert Config(overshoot_from="both").fakes_from == "both"
    assert Config(overshoot_from="both", augmentations=0).fakes_from == "posterior"


def test_options_that_a_saved_run_did_not_know_have_their_old_value():
    text = to_flagfile(Config(seed=3))
    old = "".join(
        line for line in text.splitlines(keepends=True)
        if not line.startswith((
            "--from_start", "--decoding_target", "--sigma_units", "--overshoot_from",
            "--evaluator_objective",
        ))
    )  # fmt: skip
    assert from_flagfile(old) == Config(
        seed=3, from_start=False, decoding_target="observation", overshoot_from="posterior",
        evaluator_objective="difference",
    )  # fmt: skip
    assert from_flagfile(text) == Config(seed=3)
    assert parse([]) == Config()  # A new run has today's defaults.


def test_defaults_are_those_of_the_paper_and_of_the_decisions():
    """Table 3, the text below eq. 2, and docs/decisions.md where nothing is printed."""
    expected = {
        "beta1": 0.01, "beta2": 0.5, "constraint_degrees": 5.0, "delta1": 0.0, "delta2": 0.0,
        "sigma_h": 0.1, "sigma1": 0.2, "sigma2": -1.0, "sigma_inference": 0.0,
        "augmentations": 1, "batch_size": 50,
        "batch_length": 50, "horizon": 15, "evaluator_layers": 3, "evaluator_units": 400,
        "evaluator_lr": 3e-4, "evaluator_objective": "bce", "overshoot": 0,
        "overshoot_from": "augmented", "weighting": "probability", "weight_gradient": False,
        "from_start": True, "decoding_target": "reconstruction", "constraint_norm": "squared",
        "sigma_units": "absolute", "embedding_gradient": "both",
    }  # fmt: skip
    assert {name: getattr(Config(), name) for name in expected} == expected
