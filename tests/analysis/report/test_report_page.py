"""tools/report.py and its page, without a browser; test_report_in_browser.py has one."""

import base64
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from report_pages import (
    HORIZON,
    Content,
    add_diagnostics,
    add_line,
    diagnostics,
    frames,
    full_run,
    report,
    tool,
)
from runs import make_run, options

from clion_tf.analysis.curves import metrics_files
from clion_tf.analysis.report import (
    report_page,
    run_figures,
    run_section,
    small_figures,
)
from clion_tf.analysis.report.report_page import find
from clion_tf.logdir.checkpoints import Checkpoints, Counters
from clion_tf.logdir.run_folder import RunFolder
from clion_tf.pictures.video_files import encode_gif, save_video


def decoded(uri):
    kind, content = uri.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(content, validate=True)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = full_run(tmp_path_factory.mktemp("runs") / "walker", seed=3, sigma_h=0.2)
    out = folder.parent / "page.html"
    assert report("--logdirs", folder, "--out", out) == 0
    return folder, Content(out.read_text())


@pytest.fixture
def copied(complete, tmp_path):
    """The complete run, to be changed."""
    return pathlib.Path(shutil.copytree(complete[0], tmp_path / "a"))


@pytest.fixture
def drawn(monkeypatch):
    """Figures by title, as they are drawn; painting them takes longest."""
    figures = {}

    def png(figure, alt):
        figures[alt] = figure
        return small_figures.Picture("data:,", alt)

    monkeypatch.setattr(small_figures, "png", png)
    return figures


def test_page_tells_what_there_is(complete):
    folder, content = complete
    for text in (
        "CLION: walker_walk", "1 run,", str(folder), "seed 3", "16,000 of 5,000,000", "episodes 17",
        "updates 1,610", "last evaluation return 20.5", "last training return 33.2",
        "sigma_h 0.2 0.1", "Open-loop prediction, 15,000 steps", "Evaluation, 15,000 steps",
        "Decoded from noisy memory, 15,000 steps", "Evaluator and memory at 15,000 steps",
        "update 12.5 %", "other 25.0 %", "mean ± std",
    ):  # fmt: skip
        assert text in content.text, text
    assert run_section.MISSING not in content.text
    assert "logdir" not in content.text.replace(str(folder), "")


def test_page_needs_nothing_else(complete):
    _, content = complete
    assert all(source.startswith("data:") for _, source in content.sources)
    assert not {"script", "iframe", "object", "embed"} & set(content.tags)
    assert not [name for _, name in content.attributes if name.startswith("on")]
    assert ("meta", "http-equiv") in content.attributes
    assert "url(" not in report_page.importlib.resources.files("clion_tf.analysis.report").joinpath(
        "style.css"
    ).read_text("utf-8")


def test_page_holds_the_newest_video_and_pictures(complete):
    folder, content = complete
    found = [(tag, *decoded(source)) for tag, source in content.sources if tag != "link"]
    videos = [data for tag, kind, data in found if kind == "video/mp4"]
    assert videos == [(folder / "videos" / "test-000015000.mp4").read_bytes()]
    gifs = [data for tag, kind, data in found if kind == "image/gif"]
    assert gifs == [encode_gif(frames(15_000 + i, 3, 192, 384), 20) for i in (0, 1)]
    pictures = [data for tag, kind, data in found if kind == "image/png"]
    for data in pictures:
        with Image.open(io.BytesIO(data)) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 10
    # Two curves, the poster; 8 of diagnostics; image loss, KL, scores, fps.
    assert len(pictures) == 2 + 1 + 8 + 4


def test_diagnostics_are_drawn_as_recorded(copied, drawn):
    find([str(copied)], {}).runs[0].read(with_media=False)
    entry = diagnostics()
    (ax,) = drawn["Weights, augmented trajectories"].axes
    assert [ax.lines[0].get_xdata().tolist(), set(ax.lines[0].get_ydata())] == [
        list(range(HORIZON - 1)),
        {0.5},
    ]
    assert [p.get_paths()[0].get_extents().intervaly.tolist() for p in ax.collections] == [
        [0.05, 0.95],
        [0.25, 0.75],
    ]
    (ax,) = drawn["Decoding error, squared, per frame"].axes
    assert ax.lines[0].get_xdata().tolist() == entry["decoding"]["sigma"]
    assert ax.lines[0].get_ydata().tolist() == entry["decoding"]["error"]
    assert list(ax.lines[1].get_xdata()) == [0.2, 0.2]
    (ax,) = drawn["Mean score by age"].axes
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.lines[1].get_ydata().tolist() == entry["scores"]["fake"]["by_age"]
    (ax,) = drawn["Share of weight on augmented trajectories"].axes
    assert ax.lines[0].get_ydata().tolist() == [0.4, 0.4]
    assert set(ax.lines[1].get_ydata()) == {0.5}  # All equal.
    (ax,) = drawn["Share of transitions by score"].axes
    assert ax.lines[0].get_xdata().tolist() == entry["scores"]["bins"]
    assert ax.lines[0].get_ydata()[:-1].tolist() == entry["scores"]["real"]["share"]


def test_losses_are_drawn_without_their_constant(tmp_path, drawn):
    make_run(tmp_path / "a", {1: 1.0}, {}, options())
    for step, loss in ((1, 11_391.87), (2, 11_301.87)):
        add_line(tmp_path / "a", step=step, image_loss=loss, heldout_image_loss=None)
    find([str(tmp_path)], {}).runs[0].read()
    (ax,) = drawn["Image loss − 11,292 (constant), nats"].axes
    # 12,288 pixels of log(2 pi) / 2.
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [99.95, 9.95], atol=0.05)
    assert ax.get_yscale() == "log" and len(ax.lines) == 1


def test_names_stay_text(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = make_run(tmp_path / evil.replace("/", "∕"), {5: 1.0}, {}, options(task='"><script>'))
    label = f"{folder}={evil}"
    out = tmp_path / "a.html"
    assert report("--logdirs", folder, "--label", label, "--title", evil, "--out", out) == 0
    content = Content(out.read_text())
    assert "script" not in content.tags and ("img", "onerror") not in content.attributes
    assert evil in content.text and '"><script>' in content.text


def test_name_that_is_no_text(tmp_path):
    # With returns of both kinds, as no warning may name it: pytest-xdist sends text only.
    folder = make_run(tmp_path / os.fsdecode(b"\xff"), {5: 1.0}, {5: 1.0}, options())
    assert report("--logdirs", folder, "--out", tmp_path / "a.html") == 0
    (tmp_path / "a.html").read_text("utf-8")


def damage_everything(folder):
    add_line(folder, step=17_000, image_loss=None, kl=float("nan"))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('nonsense\n[1]\n{"kl": 1}\n{"step": 18000, "ima')
    for path in (folder / "videos").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    (folder / "videos" / "test-000025000.mp4").write_bytes(b"")
    for i, text in enumerate(
        ("", "[]", "{}", '{"steps": 1, "weights": 3, "decoding": {"sigma": 0}}')
    ):
        (folder / "diagnostics" / f"{20_000 + 1000 * i:09d}.json").write_text(text)
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"damaged")


def test_damage_never_breaks_the_page(copied, tmp_path):
    folder = copied
    damage_everything(folder)
    found = find([str(folder)], {}).runs[0].read()
    text = "\n".join(found.problems)
    assert "metrics.jsonl: 3 damaged lines" in text
    assert "000023000.json: weights: damaged" in text
    assert "000023000.json: decoding: damaged" in text
    assert not found.clips and dict(found.facts)["episodes"] == "1"
    assert report("--logdirs", folder, "--out", tmp_path / "a.html") == 0
    content = Content((tmp_path / "a.html").read_text())
    assert f"Videos and pictures {run_section.MISSING}" in content.text
    assert f"diagnostics {run_section.MISSING}" in content.text


def test_older_is_shown_where_the_newest_is_damaged(copied):
    folder = copied
    newest = folder / "videos" / "test-000015000.mp4"
    newest.write_bytes(newest.read_bytes()[:1000])
    (folder / "diagnostics" / "000015000.json").write_text('{"steps":')
    found = find([str(folder)], {}).runs[0].read()
    assert [clip.step for clip in found.clips] == [5000, 15_000, 15_000]
    assert found.diagnosed_at == 5000
    assert [line.split(":")[0] for line in found.problems] == ["000015000.json"]


@pytest.mark.parametrize("lines", [None, "", '{"step": 1000, "tra', "{}\n\n"])
def test_run_that_has_just_begun(tmp_path, lines):
    folder = make_run(tmp_path / "a", {}, {}, options())
    if lines is None:
        (folder / "metrics.jsonl").unlink()
    else:
        (folder / "metrics.jsonl").write_text(lines)
    assert report("--logdirs", folder, "--out", tmp_path / "a.html") == 0
    content = Content((tmp_path / "a.html").read_text())
    assert "0 of 5,000,000" in content.text and "metrics.jsonl: no numbers yet" in content.text
    assert "Evaluation returns: none yet." in content.text


def test_skipped_updates_are_those_of_the_whole_run(tmp_path):
    folder = make_run(tmp_path / "a", {5000: 1.0}, {}, options())
    for step, skipped in ((6000, 2), (7000, 0), (8000, 3)):
        add_line(folder, step=step, updates=step, skipped_updates=skipped)
    logged = len((folder / "metrics.jsonl").read_bytes())
    counters = Counters(steps=8500, episodes=8, skipped=1, env_failures=4, metrics_bytes=logged)
    Checkpoints(folder / "checkpoints").save({"weights/a": np.zeros(2)}, counters)
    facts = dict(find([str(folder)], {}).runs[0].read().facts)
    assert facts["skipped updates"] == "6" and facts["failed environments"] == "4"
    # A stop, or the next line, has those of the checkpoint too.
    add_line(folder, step=8600, updates=8600, skipped_updates=1)
    assert dict(find([str(folder)], {}).runs[0].read().facts)["skipped updates"] == "6"


def test_run_without_options(tmp_path):
    """Of the original Dreamer, and one whose options cannot be read."""
    make_run(tmp_path / "dmc_walker_walk" / "dreamer" / "7", {5000: 1.0})
    (make_run(tmp_path / "x", {5000: 2.0}) / "run.flags").write_text("--nonsense=1")
    original, unknown = (run.read() for run in find([str(tmp_path)], {}).runs)
    assert original.title == "walker_walk · dreamer · seed 7" and original.options is None
    assert unknown.title == "x" and "cannot read the run's options" in unknown.problems[0]
    assert dict(unknown.facts)["last evaluation return"] == "2.0"


def test_many_runs_fold_and_sort(tmp_path):
    for seed in (10, 9, 1):
        make_run(tmp_path / f"r{seed}", {5000: 1.0, 105_000: 50.0}, {},
                 options("table1_rotation", seed=seed))  # fmt: skip
    others = tmp_path / "peers.json"
    entry = {"task": "walker_walk", "method": "dreamer", "seed": 0, "xs": [1], "ys": [2]}
    others.write_text(json.dumps([entry]))
    out = tmp_path / "a.html"
    assert report("--logdirs", tmp_path / "r*", "--curves", others, "--out", out) == 0
    content = Content(out.read_text())
    titles = [f"walker_walk, ±5° rotation · CLION · seed {seed}" for seed in (1, 9, 10)]
    places = [content.text.index(title) for title in titles]
    assert places == sorted(places)
    assert content.tags.count("details") == 3 and ("details", "open") not in content.attributes
    # The run's score beside the paper's, and no table of an experiment that was not run.
    assert "Table 1" in content.text and "50.0 ± 0.0 (3)" in content.text
    assert "527.1 ± 166" in content.text and "Table 2" not in content.text


def test_media_of_one_run_or_none(tmp_path, capsys, monkeypatch):
    for seed in (0, 1):
        folder = make_run(tmp_path / str(seed), {1: 1.0}, {}, options(seed=seed))
        save_video(folder / "videos" / "test-000000001.mp4", frames(seed), 20)
    counts = {}
    for kind in tool.MEDIA:
        out = tmp_path / f"{kind}.html"
        assert report("--logdirs", tmp_path, "--media", kind, "--out", out) == 0
        counts[kind] = Content(out.read_text()).tags.count("video")
    assert counts == {"all": 2, "one": 1, "none": 0}
    assert "left out (--media=none)" in out.read_text() and capsys.readouterr().err == ""
    monkeypatch.setattr(report_page, "LARGE", 1000)
    assert report("--logdirs", tmp_path / "0", "--out", out) == 0
    captured = capsys.readouterr()
    assert "warning: large" in captured.err and "1 run, " in captured.out


def test_time_shares_by_hand():
    logged = {
        "loop_seconds": [60.0, 40.0],
        "update_seconds": [50.0, 20.0],
        "wait_seconds": [0.0, 5.0],
    }
    points = {key: (np.arange(2.0), np.array(values)) for key, values in logged.items()}
    assert run_section.time_shares(metrics_files.Metrics(points)) == [
        ("update", 0.7), ("wait", 0.05), ("other", pytest.approx(0.25)),
    ]  # fmt: skip
    assert run_section.time_shares(metrics_files.Metrics({})) == []


@pytest.mark.parametrize(
    "part, change",
    [
        ("weights", {"original": None}),
        ("weights", {"original": {"mean": [1.0], "quantiles": {}}}),
        ("scores", {"bins": [0.0, 1.0]}),
        ("scores", {"real": []}),
        ("decoding", {"error": [1.0]}),
        ("decoding", {"sigma": ["a"]}),
    ],
)
def test_damaged_part_of_diagnostics(tmp_path, drawn, part, change):
    entry = diagnostics()
    whole, _ = newest_figures(tmp_path, entry)
    entry[part] |= change
    found, damage = newest_figures(tmp_path, entry)
    assert 0 < len(found) < len(whole)
    assert len(damage) == 1 and damage[0].startswith(f"000010000.json: {part}: damaged (")


def newest_figures(folder, entry):
    """(their titles, what is damaged)"""
    damage = []
    add_diagnostics(folder, entry)
    pictures, steps = run_figures.diagnostics(RunFolder(folder), None, damage)
    assert steps == entry["steps"]
    return [picture.alt for picture in pictures], damage


def test_null_in_diagnostics_is_drawn_as_a_gap(tmp_path, drawn):
    entry = diagnostics()
    entry["decoding"]["error"] = [None] * 5
    entry["scores"]["real"]["by_age"][1] = None
    entry["weights"]["original"]["quantiles"]["0.95"] = [None] * (HORIZON - 1)
    found, damage = newest_figures(tmp_path, entry)
    assert damage == [] and len(found) == 7
    assert np.isnan(drawn["Mean score by age"].axes[0].lines[0].get_ydata()[1])


def test_diagnostics_of_earlier_versions_are_drawn(tmp_path, drawn):
    """Theirs began at step 1, and had neither shares nor scores by step."""
    entry = diagnostics()
    for name in ("first_step", "augmented_share_by_step"):
        del entry["weights"][name]
    for name in ("original", "augmented"):
        entry["weights"][name] = {
            key: value for key, value in entry["weights"][name].items() if key != "score"
        }
    found, damage = newest_figures(tmp_path, entry)
    assert damage == [] and len(found) == 5
    (ax,) = drawn["Weights, original trajectories"].axes
    assert ax.lines[0].get_xdata()[:2].tolist() == [1, 2]


def test_evaluator_off_has_no_weights(tmp_path):
    entry = {k: v for k, v in diagnostics().items() if k not in ("weights", "scores")}
    assert newest_figures(tmp_path, entry) == (["Decoding error, squared, per frame"], [])
    assert run_figures.diagnostics(RunFolder(tmp_path / "none"), None, []) == ([], None)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out", "a.html"], "say what to read"),
        (["--logdirs", "r", "--out", "a.pdf"], "must end in .html"),
        (["--logdirs", "r", "--out", "no/a.html"], "no such folder"),
        (["--logdirs", "r", "--out", "/proc/a.html"], "cannot write there"),
        (["--logdirs", "missing*", "--out", "a.html"], "no such folder or file"),
        (["--logdirs", "empty", "--out", "a.html"], "no run in empty"),
        (["--logdirs", "r", "--curves", "bad.json", "--out", "a.html"], "not a curve file"),
        (["--logdirs", "r", "--label", "x", "--out", "a.html"], "must be DIR=NAME"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, arguments, message):
    make_run(tmp_path / "r", {5000: 1.0}, {}, options())
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert report(*arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("report: error: ") and message in error
    assert sorted(tmp_path.iterdir()) == before


def test_as_a_command_without_tensorflow(tmp_path):
    """Reading a logdir needs none of it, so a report is made in seconds."""
    folder = make_run(tmp_path / "a", {5000: 1.0}, {}, options())
    code = f"""
import runpy, sys
sys.argv = ["report.py", "--logdirs", {str(folder)!r}, "--out", {str(tmp_path / "a.html")!r}]
try:
    runpy.run_path({str(ROOT / "tools" / "report.py")!r}, run_name="__main__")
except SystemExit as end:
    sys.exit(end.code or (3 if "tensorflow" in sys.modules else 0))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    assert "a.html: 1 run, 0." in result.stdout
