"""Compares settings by agents trained on the recorded episodes of a run.

    clion-offline --logdir=logdir/walker --updates=500 \\
        --vary sigma_h=0.05 sigma_h=0.2 "evaluator_objective=bce,evaluator_lr=3e-4" --out=out.json

Trains one new agent with the run's options and one for each word after --vary (options with commas
between them), all on the same batches, and judges each by the newest episodes, which none of them
was trained on: losses, robustness of memory and embedding, errors of imagination, and what the
evaluator can tell. What the numbers are is said in docs/tools.md. It costs updates only, no
rendering, so that constants can be screened in minutes.

With --from_checkpoint all continue from the run's newest checkpoint instead, on all of its
episodes, and are judged by new ones that the agent of that checkpoint plays first (--heldout of
them). --learning=evaluator trains the evaluator alone (likewise model, behaviour, or several),
--anew begins parts from new weights, --anew_moments Adam's moments (carried over, they make the
first steps too large or too small where a setting changes a loss's scale); with --play=N each
setting's agent plays N evaluation episodes, for its return.

--seeds=0,1,2 trains each setting once with each seed; numbers are means over these trainings.
`gain` is what a setting's returns are above those of the run's own, seed by seed on the same
beginnings, `gain_error` the standard error of its mean over trainings: one training has none.

With --out the numbers are written as each setting ends, and settings that the file has already are
not made again. Exit code 0, 2 for what cannot be, 1 if the disk fails.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import evaluation, tool_checks, trained_agent
from clion_tf.analysis.studies.study_settings import MODEL_SIZES, PARTS, mean, table, variant
from clion_tf.config import Config, ConfigError, different
from clion_tf.console import quiet_import
from clion_tf.logdir.checkpoints import load

# What a run's episodes were played with.
RECORDED = (
    "agent", "task", "observe", "action_repeat", "time_limit", "rotation_degrees", "rotation_per",
    "blank_frames",
)  # fmt: skip

BASE = "as the run"


@command.tool("offline")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = tool_checks.output_file(options.out, (".json",))
    saved = trained_agent.read(options.logdir)
    config = saved.config
    tool_checks.require_world_model(config)
    settings = variants(config, options)
    keys = ("updates", "learning", "anew", "anew_moments", "play")
    how = {key: getattr(options, key) for key in keys}
    about = {"run": run_options(config), "steps": saved.counters.steps, **how}
    for key in ("from_checkpoint", "heldout", "precision"):
        about[key] = getattr(options, key)
    found = earlier(out, about)
    with quiet_import():
        from clion_tf.analysis.studies import study_training
    if options.play:  # Before hours of training.
        evaluation.require(config, evaluation.spec(config))
    start = load(saved.path)[0] if options.from_checkpoint else None
    replay_of, unseen = study_training.episodes(saved, options.heldout, options.from_checkpoint)
    # Seed by seed, so that all settings can be compared early.
    for seed, (name, setting) in itertools.product(options.seeds, settings.items()):
        entry = found.setdefault(name, {"options": changed(config, setting), "trainings": {}})
        if str(seed) in entry["trainings"]:
            continue
        own, title = dataclasses.replace(setting, seed=seed), f"{name}, seed {seed}"
        entry["trainings"][str(seed)] = study_training.study(
            own, saved, replay_of(own), unseen, title, start=start, **how
        )
        if out is not None:
            found = joined(found, earlier(out, about))
            tool_checks.write_json(out, {**about, "settings": found})
    print("\n".join(table("setting", {name: row(found, name, options) for name in settings})))
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words."""
    parser = command.parser("offline", __doc__)
    add = parser.add_argument
    add("--logdir", required=True, metavar="DIR", help="folder of the run")
    add("--vary", nargs="*", default=[], metavar="OPTION=VALUE[,...]", help="a setting each")
    add("--updates", type=command.positive, default=500, help="of each agent; 500")
    add("--heldout", type=command.positive, default=3, help="episodes to judge by; 3")
    add("--from_checkpoint", action="store_true", help="continue from the newest")
    kinds = ",".join(PARTS)
    add("--learning", type=parts, default=[*PARTS], metavar="PARTS", help=f"some of {kinds}; all")
    add("--anew", type=parts, default=[], metavar="PARTS", help="of these, with --from_checkpoint")
    add("--anew_moments", action="store_true", help="Adam's moments, with --from_checkpoint")
    add("--play", type=tool_checks.count, default=0, help="evaluation episodes of each setting; 0")
    seeds = tool_checks.several(tool_checks.count)
    add("--seeds", type=seeds, default=[0], metavar="N[,...]", help="of weights, batches, noise; 0")
    add("--precision", choices=("32", "bf16", "16"), help="the run's by default")
    add("--out", metavar="FILE", help="write all numbers there, .json")
    options = parser.parse_args(arguments)
    options.seeds = list(dict.fromkeys(options.seeds))
    for name in ("anew", "anew_moments"):
        if getattr(options, name) and not options.from_checkpoint:
            parser.error(f"--{name}: without --from_checkpoint all is new")
    return options


def parts(text: str) -> list[str]:
    """An argument such as `behaviour,evaluator`, in the order of PARTS."""
    words = text.split(",")
    if not set(words) <= set(PARTS):
        raise ValueError(text)
    return [part for part in PARTS if part in words]


def variants(config: Config, options: argparse.Namespace) -> dict[str, Config]:
    """The settings by name, the run's own first."""
    base = {"precision": options.precision} if options.precision else {}
    found = {BASE: variant(config, base)}
    for text in options.vary:
        words = dict(word.partition("=")[::2] for word in text.split(","))
        if not all(words) or not all(words.values()):
            raise ConfigError(f"--vary {text}: say option=value, several with commas between")
        if "seed" in words:
            raise ConfigError(f"--vary {text}: --seeds trains every setting at several seeds")
        found[text] = variant(config, {**base, **words})
    for name, setting in found.items():
        _check(name, config, setting, options)
    return found


def _check(name: str, config: Config, setting: Config, options: argparse.Namespace) -> None:
    """Refuses what could not be trained, before episodes are played."""
    for other in (other for other in changed(config, setting) if other in RECORDED):
        raise ConfigError(f"--vary {name}: the run's episodes are of its own {other}")
    sizes = [size for size in changed(config, setting) if size in MODEL_SIZES]
    if options.from_checkpoint and sizes:
        raise ConfigError(f"--vary {name}: the checkpoint's world model has another {sizes[0]}")
    if options.learning == ["evaluator"] and not setting.evaluator:
        raise ConfigError(f"--learning=evaluator: there is none in the setting '{name}'")


def run_options(config: Config) -> dict:
    """What a run is, wherever its folder lies."""
    return {k: v for k, v in changed(Config(), config).items() if k != "logdir"} | {
        "task": config.task,
        "seed": config.seed,
    }


def changed(config: Config, setting: Config) -> dict:
    """What differs from the run."""
    return {name: new for name, (_, new) in different(config, setting).items()}


def earlier(out: pathlib.Path | None, about: dict) -> dict:
    """Settings that the file has from an earlier call.

    Raises:
      UsageError: if it is of something else.
    """
    if out is None or not out.exists():
        return {}
    try:
        content = json.loads(out.read_text())
        if {key: content[key] for key in about} == about:
            return content["settings"]
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise command.UsageError(f"--out={out}: holds something else than these settings' numbers")


def joined(mine: dict, theirs: dict) -> dict:
    """All settings with all trainings of both, as another process may write to the same file."""
    both = dict(theirs)
    for name, entry in mine.items():
        before = theirs.get(name, {}).get("trainings", {})
        both[name] = {**entry, "trainings": before | entry["trainings"]}
    return both


def row(found: dict[str, dict], name: str, options: argparse.Namespace) -> dict[str, float]:
    """A setting's numbers, means over its trainings, with what its returns gain."""
    mine, base = (
        [found[n]["trainings"][str(seed)]["found"] for seed in options.seeds] for n in (name, BASE)
    )
    return mean(mine, base if options.play and name != BASE else ())


if __name__ == "__main__":
    sys.exit(main())
