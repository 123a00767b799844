"""Reports, the runs that they are of, and what is on their pages."""

import html.parser
import json

import numpy as np
from runs import make_run, options
from tool_modules import tool as module

from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.pictures.video_files import save_clips, save_video
from clion_tf.replay.stopwatch import PARTS

tool = module("report")
HORIZON = 15
QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")


def report(*arguments):
    return tool.main([str(word) for word in arguments])


def frames(seed, count=5, height=64, width=64):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def diagnostics(steps=10_000):
    """As an evaluation writes them."""
    over = {
        "mean": [1.0] * (HORIZON - 1),
        "quantiles": {name: [float(name)] * (HORIZON - 1) for name in QUANTILES},
        "score": [0.5] * (HORIZON - 1),
    }
    score = {"mean": 0.6, "share": [0.05] * 20, "by_age": [0.5, 0.6, 0.7]}
    return {
        "steps": steps,
        "updates": 500,
        "weights": {
            "original": over, "augmented": over, "effective_sample_size": 0.5, "largest": 3.0,
            "augmented_share": 0.25, "first_step": 0,
            "augmented_share_by_step": [0.25] * (HORIZON - 1),
        },
        "scores": {"bins": np.linspace(0, 1, 21).tolist(), "real": score, "fake": score},
        "decoding": {"sigma": [0.0, 0.05, 0.1, 0.2, 0.4], "error": [1.0, 2.0, 3.0, 4.0, 5.0]},
    }  # fmt: skip


def add_line(folder, **entry):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def add_diagnostics(folder, entry):
    path = folder / "diagnostics" / f"{entry['steps']:09d}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(entry))
    return path


def full_run(folder, **flags):
    """A run that has all that a page can show."""
    returns = {5000: 10.0, 15_000: 20.5}
    make_run(folder, returns, {1000: 1.0, 16_000: 33.25}, options(**flags))
    logged = {"image_loss": 11_300.0, "kl": 3.0, "evaluator_real": 0.6, "weight_augmented": 0.4}
    times = {f"{part}_seconds": 10.0 for part in PARTS}
    for step in (6000, 16_000):
        add_line(
            folder, step=step, updates=step // 10, fps=8.5, loop_seconds=80.0, **logged, **times
        )
    for step, entry in ((5000, diagnostics(5000)), (15_000, diagnostics(15_000))):
        add_diagnostics(folder, entry)
        save_video(folder / "videos" / f"test-{step:09d}.mp4", frames(step), 20)
    for i, name in enumerate(("openloop", "memory")):
        path = folder / "videos" / f"{name}-000015000.gif"
        save_clips(path, [frames(15_000 + i, 3, 192, 384)], 20)
    counters = Counters(steps=16_000, episodes=17, updates=1610)
    Checkpoints(folder / "checkpoints").save({"weights/a": np.zeros(2)}, counters)
    return folder


class Content(html.parser.HTMLParser):
    """Tags, the text that is shown, and all addresses."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.sources = [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name) for name, _ in attrs]
        self.sources += [(tag, v) for k, v in attrs if k in ("src", "href", "poster", "srcset")]

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.texts.append(data)
