"""Every option once: its default, what it does, and where the default comes from.

"CLION" is the paper (Table 3 and the text), "Dreamer" the original code at github.com/danijar/
dreamer, "DrQ" that at github.com/denisyarats/drq, "ours" a decision of this project; those about
the paper are in docs/decisions.md.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from clion_tf.console import Refused
from clion_tf.files import PathError, find_flagfile, preset_names, unprintable


class ConfigError(Refused, ValueError):
    """An option, or a combination of options, that cannot work; the message is one line."""


def _option(
    group: str, default: Any, help_: str, source: str, choices: tuple[str, ...] = (),
    resume: bool = False, **others: Any,
) -> Any:  # fmt: skip
    """A field of Config, under a heading of the help.

    `source` says where the default comes from; `resume`, whether a run may resume with another
    value; `earlier`, among the others, what held before there was the option.
    """
    metadata = {"group": group, "help": help_, "source": source, "choices": choices}
    return dataclasses.field(default=default, metadata={**metadata, "resume": resume, **others})


@dataclasses.dataclass(frozen=True)
class Config:
    """All options of a run; a field is a flag. Their order and headings are --helpfull's."""

    # fmt: off
    # "Environment steps" always count simulator control steps, action repeat included.
    option = functools.partial(_option, "Run")
    logdir: str = option("", "Folder of the run; the same command resumes the run in it.", "ours", resume=True)
    seed: int = option(0, "Seed of everything random: weights, batches, noise, episodes.", "ours")
    steps: int = option(5_000_000, "Environment steps at which the run ends.", "Dreamer", resume=True)
    eval_every: int = option(10_000, "Environment steps between evaluations.", "Dreamer", resume=True)
    eval_episodes: int = option(1, "Episodes per evaluation.", "Dreamer", resume=True)
    log_every: int = option(1_000, "Environment steps between lines of training metrics.", "Dreamer", resume=True)
    summary: bool = option(False, "Print all layers of the networks at the start, not a line for each network.", "ours", resume=True)
    log_images: bool = option(True, "Write open-loop and memory pictures at each evaluation.", "Dreamer", resume=True)
    video: str = option("mp4", "Format of the saved evaluation episodes.", "ours", ("mp4", "gif", "none"), resume=True)
    save_every: int = option(1_000, "Environment steps between checkpoints, each at the end of an episode; 0: by save_seconds only.", "ours", resume=True)
    save_seconds: float = option(0.0, "Seconds between checkpoints, where those are over before save_every's steps; 0: by steps only.", "ours", resume=True)
    keep_checkpoints: int = option(3, "How many of the newest checkpoints to keep.", "ours", resume=True)
    lock: bool = option(True, "Keep other runs out of the folder by a lock; --nolock where the file system has none.", "ours", resume=True)
    device: str = option("auto", "Where the learner runs; auto takes a GPU if there is one.", "ours", ("auto", "cpu", "gpu"), resume=True)
    precision: str = option("auto", "Compute type; auto is bf16 or 16 on GPUs that have it, 32 on CPUs.", "ours", ("auto", "32", "16", "bf16"), resume=True)
    deterministic: bool = option(False, "Use only repeatable GPU operations, at a cost in speed; CPUs always do.", "ours", resume=True)
    jit: str = option("auto", "Compile the update with XLA; auto does so on GPUs only.", "ours", ("auto", "on", "off"), resume=True)

    agent: str = option("clion", "Who learns: CLION (and Dreamer), or the baseline DrQ, which reads the drq_ options and those of tasks, replay and training.", "ours", ("clion", "drq"))
    strategy: str = option("none", "Split each batch over this machine's GPUs (mirrored) or over the processes of TF_CONFIG (multiworker).", "ours", ("none", "mirrored", "multiworker"), resume=True)

    option = functools.partial(_option, "Environment")
    task: str = option("walker_walk", "A task of dm_control's suite, as domain_task; gym:Id-v0, atari_game, or module:function.", "CLION")
    observe: str = option("auto", "What the agent sees; auto: images, and the vector where the task itself observes both.", "ours", ("auto", "image", "vector", "both"))
    action_repeat: int = option(2, "Control steps for which an action is held.", "CLION")
    time_limit: int = option(1000, "Longest episode, in environment steps, up to whole agent steps.", "CLION")
    prefill: int = option(5000, "Environment steps of random seed episodes (5 episodes of 1000).", "CLION")
    rotation_degrees: float = option(0.0, "Rotate each observed frame by U(-x, x) degrees; the paper's uncertainty is 5.", "CLION")
    test_rotation_degrees: float = option(-1.0, "The same in evaluation episodes; negative: as in training.", "ours")
    rotation_fill: str = option("edge", "What lies outside a rotated image: its edge repeated, or black.", "ours", ("edge", "black"))
    rotation_per: str = option("frame", "Rotate each frame by an angle of its own, or all of an episode by one.", "ours", ("frame", "episode"))
    blank_frames: float = option(0.0, "Probability with which an observed frame is grey (and its vector zero), so that the agent has to remember.", "ours")
    test_blank_frames: float = option(-1.0, "The same in evaluation episodes; negative: as in training.", "ours")
    stack_rotation: str = option("independent", "DrQ's three stacked frames: each rotated by its own angle, or all by the same.", "CLION", ("independent", "same"))
    env_restarts: int = option(10, "Failed environments restarted within an hour before the run stops.", "ours", resume=True)
    episode_failures: int = option(3, "Failures in the same way after which an episode is skipped; 0: none is.", "ours", resume=True)
    envs: int = option(1, "Environments that play side by side, with one call of the policy for all.", "ours", resume=True)
    worker_timeout: float = option(120.0, "Seconds after which a silent environment worker counts as hung.", "ours", resume=True)

    option = functools.partial(_option, "Replay")
    batch_size: int = option(50, "Sequences in a batch, B.", "CLION")
    batch_length: int = option(50, "Frames in a sequence, L (Table 3 prints 15, see table3_literal).", "Dreamer")
    replay_capacity: int = option(0, "Environment steps kept on disk, the oldest episodes go; 0: all.", "ours", resume=True)
    dataset_balance: bool = option(False, "Draw the ends of episodes more often.", "Dreamer")

    option = functools.partial(_option, "World model")
    deter_size: int = option(200, "Units of the memory h.", "Dreamer")
    stoch_size: int = option(30, "Units of the stochastic state s.", "Dreamer")
    hidden_size: int = option(200, "Units of the dense layers in the RSSM.", "Dreamer")
    num_units: int = option(400, "Units of the dense layers in reward, value, action and discount, and of those for vectors.", "Dreamer")
    cnn_depth: int = option(32, "Channels of the first convolution; the others are multiples.", "Dreamer")
    dense_act: str = option("elu", "Activation of dense layers, but for the RSSM's (elu).", "Dreamer", ("elu", "relu", "leaky_relu"))
    cnn_act: str = option("relu", "Activation of convolutions.", "Dreamer", ("elu", "relu", "leaky_relu"))
    rssm_min_std: float = option(0.1, "Smallest standard deviation of s.", "Dreamer")
    free_nats: float = option(3.0, "The mean KL below which it is not minimised.", "CLION")
    kl_scale: float = option(1.0, "Scale of the KL.", "Dreamer")
    pcont: str = option("auto", "Predict the discount; auto: for tasks that may terminate, all but dm_control's (and its lqr).", "Dreamer", ("auto", "True", "False"))
    pcont_scale: float = option(10.0, "Scale of the discount loss.", "Dreamer")

    option = functools.partial(_option, "Constraints (eq. 2)")
    beta1: float = option(0.01, "Scale of the embedding constraint; 0 is off.", "CLION")
    beta2: float = option(0.5, "Scale of the decoding constraint; 0 is off.", "CLION")
    delta1: float = option(0.0, "Margin of the embedding constraint, a distance.", "CLION")
    delta2: float = option(0.0, "Margin of the decoding constraint, a distance.", "CLION")
    constraint_degrees: float = option(5.0, "Embedding constraint: rotate each image by U(-x, x) degrees.", "CLION")
    embedding_gradient: str = option("both", "Embedding constraint: move both embeddings or only the rotated one.", "ours", ("both", "rotated"))
    sigma_h: float = option(0.1, "Decoding constraint: standard deviation of the noise on h.", "ours")
    decoding_target: str = option("reconstruction", "Decoding constraint: compare with what un-noised memory decodes to, or with the image.", "CLION", ("reconstruction", "observation"), earlier="observation")
    constraint_norm: str = option("squared", "Both constraints: the squared distance less delta^2, or the distance less delta.", "ours", ("squared", "euclidean"))
    sigma_units: str = option("absolute", "sigma_h, sigma1 and sigma_inference in units of h, or relative to the standard deviation of h over the batch (of sigma_inference, over its sequences at each step).", "ours", ("absolute", "relative"))

    option = functools.partial(_option, "Memory augmentation (eq. 3)")
    augmentations: int = option(1, "Augmented copies A of each start state; 0 is off.", "ours")
    sigma1: float = option(0.2, "Augmentation: standard deviation of the noise on h.", "ours")
    sigma2: float = option(-1.0, "Augmentation: standard deviation of s; negative: the posterior's.", "ours")
    sigma_inference: float = option(0.0, "Standard deviation of noise on the h from which the next state is inferred, in training; 0 is off.", "ours")

    option = functools.partial(_option, "Evaluator and reliability weights (eqs. 4 and 5)")
    evaluator: bool = option(True, "Weight imagined transitions by how real they look.", "CLION")
    evaluator_layers: int = option(3, "Hidden layers of the evaluator.", "ours")
    evaluator_units: int = option(400, "Units of a hidden layer of the evaluator.", "ours")
    evaluator_objective: str = option("bce", "Binary cross-entropy, or eq. 4's difference of probabilities.", "ours", ("bce", "difference"), earlier="difference")
    overshoot: int = option(0, "Open-loop steps of the fakes, K; 0: the imagination horizon.", "ours")
    overshoot_from: str = option("augmented", "Where the fakes start: at posterior states with augmentation's noise, without it, or one of each; without it if there are no augmented copies.", "ours", ("augmented", "posterior", "both"), earlier="posterior")
    weighting: str = option("probability", "The evaluator's probability W = D, or its odds W = D / (1 - D).", "CLION", ("probability", "ratio"))
    weight_gradient: bool = option(False, "Let the actor's gradient flow through the weights.", "ours")

    option = functools.partial(_option, "Behaviour (eqs. 6 to 9)")
    horizon: int = option(15, "Imagined steps H (Table 3 prints 50, see table3_literal).", "Dreamer")
    from_start: bool = option(True, "Imagined trajectories begin at their start state z_0: it is weighted, valued and acted from; Dreamer's begin one step later.", "CLION", earlier=False)
    discount: float = option(0.99, "Discount gamma of an agent step.", "CLION")
    disclam: float = option(0.95, "Lambda of the lambda-return.", "CLION")
    action_init_std: float = option(5.0, "The action model's first standard deviation, before tanh.", "Dreamer")
    action_mean_scale: float = option(5.0, "Bound of the action model's mean, before tanh.", "Dreamer")
    action_min_std: float = option(1e-4, "Smallest standard deviation of the action model, before tanh.", "Dreamer")
    expl: str = option("auto", "Exploration; auto: Gaussian for boxes, epsilon-greedy for discrete actions.", "ours", ("auto", "additive_gaussian", "epsilon_greedy", "completely_random"))
    expl_amount: float = option(0.3, "Noise on training actions: standard deviation or epsilon.", "Dreamer")
    expl_decay: float = option(0.0, "Environment steps in which expl_amount halves; 0: never.", "Dreamer")
    expl_min: float = option(0.0, "Smallest expl_amount while it decays.", "Dreamer")
    eval_action: str = option("densest", "Evaluation: densest of 100 samples, the mean's action, or a sample.", "Dreamer", ("densest", "mean", "sample"), resume=True)
    eval_noise: float = option(0.0, "Exploration amount in evaluation episodes.", "Dreamer", resume=True)

    option = functools.partial(_option, "Training")
    pretrain: int = option(100, "Updates before the first episode with the agent.", "Dreamer")
    train_every: int = option(1000, "Environment steps between two phases of updates, T.", "CLION")
    train_steps: int = option(100, "Updates in a phase, C.", "CLION")
    updates_per_call: int = option(0, "Updates in one call of the compiled function, with the same results (DrQ's to rounding); 0: 10 on GPUs, 1 on CPUs.", "ours", resume=True)
    overlap: bool = option(False, "Collect each episode while the updates before it are made, with the policy from before them.", "ours")
    model_lr: float = option(6e-4, "Adam's learning rate for the world model.", "CLION")
    value_lr: float = option(8e-5, "Adam's learning rate for the critic.", "CLION")
    actor_lr: float = option(8e-5, "Adam's learning rate for the actor.", "CLION")
    evaluator_lr: float = option(3e-4, "Adam's learning rate for the evaluator.", "ours")
    grad_clip: float = option(100.0, "Largest global norm of a network's gradient.", "CLION")
    max_bad_updates: int = option(50, "Skipped updates in a row (losses or gradients not finite) before the run goes back, once, to its checkpoint.", "ours", resume=True)

    # --agent=drq; flags/drq.flags sets the shared options to its values.
    option = functools.partial(_option, "DrQ")
    drq_image_size: int = option(84, "Height and width of DrQ's images in pixels.", "DrQ")
    drq_filters: int = option(32, "Filters of each of the four convolutions.", "DrQ")
    drq_feature_dim: int = option(50, "Size of the encoder's projections.", "DrQ")
    drq_units: int = option(1024, "Units of a hidden layer of actor and critics.", "DrQ")
    drq_pad: int = option(4, "Random shifts: pixels of padding around an image; 0: no shift.", "DrQ")
    drq_targets: int = option(2, "Augmentations averaged in the target, K.", "DrQ")
    drq_online: int = option(2, "Augmentations averaged in the critic's loss, M.", "DrQ")
    drq_init_temperature: float = option(0.1, "First temperature, the weight of the entropy.", "DrQ")
    drq_lr: float = option(1e-3, "Adam's learning rate for critic, actor and temperature.", "DrQ")
    drq_tau: float = option(0.01, "Share of the critic that its target takes over in a step.", "DrQ")
    drq_actor_every: int = option(2, "Updates of the critic for each of actor and temperature.", "DrQ")
    drq_target_every: int = option(2, "Updates of the critic for each step of its target.", "DrQ")

    # fmt: on
    del option

    def __post_init__(self) -> None:
        """Raises ConfigError, naming the option, before hours are spent on what cannot run."""
        for name, field in FIELDS.items():
            value, choices = getattr(self, name), field.metadata["choices"]
            default: Any = field.default
            wrong = ""
            if choices and value not in choices:
                wrong = f"use one of {', '.join(choices)}"
            elif isinstance(value, str) and unprintable(value):  # run.flags would not give it back.
                raise ConfigError(f"--{name}={value!r}: {unprintable(value)}")
            elif isinstance(value, float) and not math.isfinite(value):
                wrong = "not a finite number"
            elif type(value) in (int, float) and default >= 0:
                may_be_0 = default == 0 or name in MAY_BE_0
                if value < 0 or (value == 0 and not may_be_0):
                    wrong = f"must be {'0 or greater' if may_be_0 else 'greater than 0'}"
            if wrong:
                raise ConfigError(f"--{name}={value}: {wrong}")
        for name, holds, need in _rules(self):
            if not holds:
                raise ConfigError(f"--{name}={getattr(self, name)}: {need}")

    @property
    def predicts_discount(self) -> bool:
        """Whether there is a discount head (pcont)."""
        # dm_control's episodes end by the clock, except those of lqr; what another task does only
        # its episodes tell.
        own = ":" in self.task or self.task.startswith("atari_")
        terminates = own or self.task.removeprefix("dmc_").startswith("lqr_")
        return self.pcont == "True" or (self.pcont == "auto" and terminates)

    @property
    def test_rotation(self) -> float:
        """Rotation of evaluation episodes in degrees."""
        own = self.test_rotation_degrees
        return self.rotation_degrees if own < 0 else own

    @property
    def test_blank(self) -> float:
        """Probability of blank frames in evaluation episodes."""
        return self.blank_frames if self.test_blank_frames < 0 else self.test_blank_frames

    @property
    def overshoot_steps(self) -> int:
        """K of the evaluator's fakes."""
        return self.overshoot or self.horizon

    @property
    def fakes_from(self) -> str:
        """`overshoot_from`; without augmented copies there is no noised start to be judged."""
        return self.overshoot_from if self.augmentations else "posterior"

    @property
    def replay_transitions(self) -> int | None:
        """Agent steps that the replay keeps; None: all."""
        return self.replay_capacity // self.action_repeat or None

    def exploration(self, steps: int) -> float:
        """Exploration amount after so many environment steps (Dreamer)."""
        halvings = steps / self.expl_decay if self.expl_decay else 0.0
        return max(self.expl_min, self.expl_amount * 0.5**halvings)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}
COMMON = (
    "task", "logdir", "steps", "seed", "agent", "observe", "rotation_degrees", "envs",
    "eval_every", "save_every", "device",
)  # fmt: skip
# What held before there was an option for it, where that is not the option's default.
EARLIER = {n: f.metadata["earlier"] for n, f in FIELDS.items() if "earlier" in f.metadata}
_MOST = "Options that matter most (--helpfull tells all)"
# What switches every part of CLION off, so that the agent is Dreamer: flags/dreamer.flags.
DREAMER = {"beta1": 0.0, "beta2": 0.0, "augmentations": 0, "evaluator": False, "from_start": False}
# Options that may be 0 although their default is not. Negative only where the default is.
MAY_BE_0 = (
    "save_every", "prefill", "env_restarts", "episode_failures", "free_nats", "kl_scale",
    "pcont_scale", "beta1", "beta2", "constraint_degrees", "sigma_h", "augmentations", "sigma1",
    "discount", "disclam", "expl_amount", "pretrain", "drq_pad",
)  # fmt: skip


def _rules(c: Config) -> list[tuple[str, bool, str]]:
    """What options must satisfy beside others: (name, whether it does, what would)."""
    frames = math.ceil(c.time_limit / c.action_repeat) + 1
    episode = f"an episode of {c.time_limit} environment steps"
    too_long = f"longer than an episode of {frames} frames (time_limit / action_repeat + 1)"
    kept = c.replay_capacity == 0 or c.replay_capacity >= c.time_limit
    saved = c.save_every > 0 or c.save_seconds > 0
    odd = c.weighting == "ratio" and c.evaluator_objective != "bce" and c.evaluator
    still = c.expl == "completely_random" and c.expl_amount == 0
    relative = c.sigma_inference > 0 and c.sigma_units == "relative"
    apart, lone = relative and c.strategy != "none", relative and c.batch_size == 1
    drq, gaussian = c.agent == "drq", c.expl in ("auto", "additive_gaussian")
    return [
        ("discount", c.discount <= 1, "must lie between 0 and 1"),
        ("disclam", c.disclam <= 1, "must lie between 0 and 1"),
        ("rotation_degrees", c.rotation_degrees <= 180, "at most 180"),
        ("test_rotation_degrees", c.test_rotation_degrees <= 180, "at most 180"),
        ("blank_frames", c.blank_frames <= 1, "a probability, at most 1"),
        ("test_blank_frames", c.test_blank_frames <= 1, "a probability, at most 1"),
        ("batch_length", drq or c.batch_length <= frames, too_long),
        ("batch_length", drq or c.batch_length >= 2, "a sequence needs at least 2 frames"),
        ("horizon", drq or c.from_start or c.horizon > 1, "of one step needs --from_start"),
        ("prefill", c.prefill >= c.time_limit, f"needs at least {episode}"),
        ("replay_capacity", kept, f"less than {episode}; 0 keeps all"),
        ("save_every", saved, "needs --save_seconds, or nothing is ever saved"),
        ("weighting", drq or not odd, "a density ratio needs --evaluator_objective=bce"),
        ("sigma_inference", not apart, "with --sigma_units=relative needs --strategy=none"),
        ("sigma_inference", not lone, "with --sigma_units=relative needs --batch_size above 1"),
        ("worker_timeout", c.worker_timeout <= 1e6, "at most 1000000 s, 11 days"),
        ("drq_image_size", c.drq_image_size >= 15, "the encoder needs at least 15 pixels"),
        ("drq_tau", c.drq_tau <= 1, "at most 1, the whole critic"),
        ("expl", gaussian or not drq, "DrQ's exploration is Gaussian"),
        ("expl_amount", not still, "makes no action random, as --expl=completely_random asks"),
        ("stack_rotation", drq or c.stack_rotation == "independent", "needs --agent=drq"),
    ]


class _Flags(flags.FlagValues):
    """Flags whose flagfiles may be presets, by name, also where a flagfile names another."""

    def _get_flag_file_lines(
        self, filename: str, parsed_file_stack: list[str] | None = None
    ) -> list[str]:
        try:
            path = find_flagfile(filename) if filename else ""
            return super()._get_flag_file_lines(path, parsed_file_stack)
        except (PathError, UnicodeDecodeError) as error:
            raise ConfigError(f"--flagfile={filename}: {error}") from error


def _defined() -> _Flags:
    """The options as absl's flags; a group is a module of theirs."""
    values = _Flags()
    define: dict[type, Callable[..., Any]] = {
        bool: flags.DEFINE_bool, int: flags.DEFINE_integer,
        float: flags.DEFINE_float, str: flags.DEFINE_string,
    }  # fmt: skip
    for name, field in FIELDS.items():
        told = f"{field.metadata['help']} [{field.metadata['source']}]"
        if choices := field.metadata["choices"]:
            told += f" One of: {', '.join(choices)}."
        how = {"flag_values": values, "module_name": field.metadata["group"]}
        define[type(field.default)](name, field.default, told, **how)
        if name in COMMON:
            values.register_key_flag_for_module(_MOST, values[name])
    return values


def parse(arguments: Iterable[str]) -> Config:
    """Options from command-line words, flagfiles included; ConfigError for what cannot be."""
    values = _defined()
    try:
        rest = values(["clion_tf", *arguments])[1:]
    except flags.Error as error:
        text = " ".join(str(error).split()).removeprefix("ERROR:: ")
        raise ConfigError(text) from error
    if rest:
        raise ConfigError(f"unexpected argument {rest[0]!r}: options are --name=value")
    given: dict[str, Any] = {name: values[name].value for name in FIELDS}
    return Config(**given)


def usage(full: bool = False) -> str:
    """The help text of the options that matter most, or of all by group, and the presets."""
    groups = dict.fromkeys(field.metadata["group"] for field in FIELDS.values())
    values = _defined()
    lines = [values.module_help(group) for group in (groups if full else (_MOST,))]
    presets = f"--flagfile: Options from a file, or from a preset: {', '.join(preset_names())}."
    lines.append(flags.text_wrap(presets, indent="    ", firstline_indent="  "))
    sources = "[CLION]: the default is the paper's; [Dreamer], [DrQ]: of the original code; [ours]."
    return "\n".join([*lines, "", sources, ""])


def to_flagfile(config: Config) -> str:
    """All options, one flag a line, as `--flagfile=` reads them."""
    lines = [f"--{name}={value}" for name, value in dataclasses.asdict(config).items()]
    return "\n".join(lines) + "\n"


def from_flagfile(text: str) -> Config:
    """The options that `to_flagfile` wrote; those that did not exist then have their old value."""
    earlier = (f"--{name}={value}" for name, value in EARLIER.items())
    return parse([*earlier, *(line for line in text.splitlines() if line)])


def different(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Options that differ: {name: (old, new)}."""
    pairs = {f.name: (getattr(old, f.name), getattr(new, f.name)) for f in FIELDS.values()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def changed(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Options that differ and that a run cannot change on resume: {name: (old, new)}."""
    pairs = different(old, new).items()
    return {name: pair for name, pair in pairs if not FIELDS[name].metadata["resume"]}
