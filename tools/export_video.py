"""Makes a video of a trained agent.

    clion-export-video --logdir=logdir/walker --out=walker.mp4
    clion-export-video --logdir=logdir/walker --out=model.mp4 --what=openloop
    clion-export-video --logdir=logdir/walker --out=model.gif --what=openloop --frames=100

--what=policy    episodes with the evaluation policy, drawn by the simulator at --size while the
                 agent sees its 64x64 images; return so far and environment step are written in
--what=openloop  truth, prediction, error (grey: none): in sequences of the run's batch_length the
                 model sees 5 frames and then predicts from the actions alone; a column an episode
--what=memory    input, reconstruction from memory with noise, error

A GIF of these two would have 20 MB an episode: it shows the first 75 frames, at half the size. With
--frames and --size it shows more.

New episodes are played, so no agent was trained on them; episode n is the one that evaluations
of the same seed and rotation play as number n. They need 3 * size * size bytes a frame, one episode
at a time. Exit code 0, 2 if that cannot be made, 1 if the environment or the disk fails.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from clion_tf import command
from clion_tf.analysis import evaluation, tool_checks, trained_agent
from clion_tf.pictures import video_files

SMALLEST, LARGEST = 64, 2048  # Pixels: what the agent sees, and what can be held in memory.
SIZE = 256
# Of the world model's GIFs, which have 37 kB a frame and episode at most then: that of noise.
GIF_SIZE, GIF_FRAMES = 128, 75
# Options that some videos have.
ONLY = {"frames": ("openloop", "memory"), "sigma": ("memory",), "state": ("memory",)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's words."""
    parser = command.parser("export_video", __doc__)
    add = parser.add_argument
    tool_checks.add_arguments(parser, *tool_checks.AGENT)
    add("--out", required=True, metavar="FILE", help=".mp4 or .gif")
    add("--what", choices=("policy", "openloop", "memory"), default="policy")
    add("--size", type=command.positive, help="pixels of a picture's side, 256")
    add("--episodes", type=command.positive, default=1, help="how many, 1 by default")
    add("--frames", type=command.positive, help="openloop, memory: at most so many; all")
    add("--fps", type=tool_checks.more_than_zero, default=20.0, help="agent steps a second, 20")
    add("--sigma", type=tool_checks.not_negative, help="memory: noise on h; the run's sigma_h")
    add("--state", choices=("h", "hs"), help="memory: from (h', s), the default, or (h', s')")
    options = parser.parse_args(arguments)
    for name, kinds in ONLY.items():
        if getattr(options, name) is not None and options.what not in kinds:
            raise command.UsageError(f"--{name} goes with --what={' or '.join(kinds)}")
    small = options.what != "policy" and options.out.lower().endswith(".gif")
    options.size = options.size or (GIF_SIZE if small else SIZE)
    options.frames = options.frames or (GIF_FRAMES if small else sys.maxsize)
    return options


@command.tool("export_video")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    if not SMALLEST <= options.size <= LARGEST:
        raise command.UsageError(f"--size={options.size}: use {SMALLEST} to {LARGEST} pixels")
    out = tool_checks.output_file(options.out, video_files.SUFFIXES)
    saved = trained_agent.read(options.logdir, options.checkpoint)
    if options.what != "policy":
        tool_checks.require_world_model(saved.config)
    command.load_tensorflow()
    from clion_tf.analysis.videos import filming

    trained = trained_agent.build(saved, options.device, options.action, options.seed)
    if options.what != "policy":
        tool_checks.require_images(trained)
    size = (options.size, options.size) if options.what == "policy" else None
    spec = evaluation.spec(trained.config, rotation_degrees=options.rotation, picture_size=size)
    returns: list[float] = []

    def films() -> Iterator[filming.Film]:
        for film in filming.film_agent(trained, spec, options.episodes):
            returns.append(float(film.episode["reward"].sum()))
            yield film

    clips = policy_clips if options.what == "policy" else model_clips
    video_files.save_clips(out, clips(trained, films(), options), options.fps)
    scores = ", ".join(f"{value:.1f}" for value in returns)
    print(f"{out}: {trained.counters.steps} steps of training, returns {scores}")
    return command.OK


def policy_clips(trained, films: Iterable, options: argparse.Namespace) -> Iterator[np.ndarray]:
    """Episodes with return and step drawn in."""
    from clion_tf.analysis.videos import filming

    for number, film in enumerate(films, start=1):
        title = f"episode {number}" if options.episodes > 1 else ""
        yield filming.captioned(film, title)


def model_clips(trained, films: Iterable, options: argparse.Namespace) -> Iterator[np.ndarray]:
    """What the world model makes of the episodes."""
    from clion_tf.analysis.videos import filming
    from clion_tf.learning import noise

    config, models, films = trained.config, trained.agent.models, list(films)
    length = min(config.batch_length, *(len(film.steps) for film in films))
    sigma, units = config.sigma_h, config.sigma_units
    if options.sigma is not None:
        sigma, units = options.sigma, "absolute"
    columns = []
    for number, film in enumerate(films):
        eps = noise.SeededNoise(noise.key(config.seed, "video", number))
        if options.what == "openloop":
            column = filming.open_loop(models, film, length, eps)
        else:
            resample = options.state == "hs"
            column = filming.memory(models, film, eps, sigma, units, resample, config.sigma2)
        columns.append(column)
    yield from filming.clips(columns, options.size, options.frames)


if __name__ == "__main__":
    sys.exit(main())
