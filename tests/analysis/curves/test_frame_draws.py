"""Return against frame draws, plot.py --layout=draws."""

import json

import numpy as np
import pytest
from plots import MAGIC, plot
from runs import make_run, options

from clion_tf.analysis.curves import curve_files, curve_plots, frame_draws, learning_curves
from clion_tf.command import UsageError

RETURNS = {4000: 1000.0, 6000: 10.0, 8000: 30.0, 10_000: 80.0}  # The first in the prefill.


def make(folder, *names, ends=10_000, plus=0.0, **others):
    returns = {step: value + plus for step, value in RETURNS.items() if step <= ends}
    return make_run(folder, {}, returns, options("cpu", *names, **others))


def found(folder, end=None):
    return frame_draws.series(learning_curves.find([folder], "train"), end)


def test_draws_are_those_of_the_updates_over_new_frames():
    # 100 updates of 16 sequences of 32 frames for 1000 environment steps, of 500 frames.
    cpu = vars(options("cpu"))
    assert frame_draws.draws(cpu) == pytest.approx(16 * 32 * 100 / 500)
    assert frame_draws.draws({**cpu, "action_repeat": 4, "batch_size": 32}) == pytest.approx(409.6)


def test_a_series_for_each_method_and_batch_a_point_for_each_action_repeat(tmp_path):
    make(tmp_path / "a", action_repeat=2)
    make(tmp_path / "b", action_repeat=4, plus=6.0)
    make(tmp_path / "c", action_repeat=4, plus=8.0, seed=1)
    make(tmp_path / "d", "dreamer", action_repeat=4)
    make(tmp_path / "e", "dreamer", action_repeat=4, batch_size=32, plus=1.0)
    clion, one, two = found(tmp_path)
    assert [s.label for s in (clion, one, two)] == [
        "CLION, batch 16", "Dreamer, batch 16", "Dreamer, batch 32",
    ]  # fmt: skip
    xs, ys = clion.grid()
    assert xs.tolist() == [102.4, 204.8]
    np.testing.assert_array_equal(ys, [[40.0, 46.0], [np.nan, 48.0]])
    assert (two.curves[0].xs.tolist(), two.curves[0].ys.tolist()) == ([409.6], [41.0])
    (ax,) = curve_plots.amounts([clion, one, two], "train").axes
    assert ax.get_xscale() == "log" and ax.get_ylabel() == "training return"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["102", "205", "410"]


def test_action_repeats_are_one_series_also_beside_other_options(tmp_path):
    for repeat in (2, 4):
        config = options("clion", num_units=50, action_repeat=repeat)
        make_run(tmp_path / str(repeat), {}, RETURNS, config)
    (one,) = found(tmp_path)
    assert one.setup == "num_units=50" and one.curves[0].xs.size == 2


def test_more_updates_are_more_draws(tmp_path):
    for number, changed in enumerate(({}, {"train_steps": 200}, {"train_every": 250})):
        config = options("cpu", action_repeat=2, **changed)
        make_run(tmp_path / str(number), {}, RETURNS, config)
    (one,) = found(tmp_path)
    np.testing.assert_allclose(one.curves[0].xs, [102.4, 204.8, 409.6])


def test_means_end_at_a_step_that_all_have_reached(tmp_path, caplog):
    make(tmp_path / "a")
    make(tmp_path / "b", seed=1, ends=8000)
    assert [c.ys.tolist() for c in found(tmp_path)[0].curves] == [[20.0], [20.0]]
    (only,) = found(tmp_path, 10_000)[0].curves
    assert only.ys.tolist() == [40.0] and "b: left out, ends before 10K steps" in caplog.text
    with pytest.raises(UsageError, match="no run of CLION or Dreamer that gets to 20K"):
        found(tmp_path, 20_000)


def test_a_run_that_has_just_begun_does_not_hide_the_others(tmp_path, caplog):
    make(tmp_path / "a")
    make(tmp_path / "b", seed=1, ends=5000)
    (only,) = found(tmp_path)[0].curves
    assert only.ys.tolist() == [40.0] and "b: left out, ends before 10K steps" in caplog.text


def test_other_agents_are_left_out(tmp_path, caplog):
    make(tmp_path / "a")
    make_run(tmp_path / "q", {}, RETURNS, options("drq"))
    assert [one.label for one in found(tmp_path)] == ["CLION"]
    assert f"{tmp_path / 'q'}: left out, no run of CLION or Dreamer" in caplog.text


def test_a_seed_that_is_there_twice_is_refused(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    with pytest.raises(UsageError, match="seed 0 of CLION is there twice"):
        found(tmp_path)


@pytest.mark.parametrize("rotation", [0.0, 5.0])
def test_a_batch_size_that_all_have_is_said_in_the_caption(tmp_path, rotation):
    make(tmp_path / "a", rotation_degrees=rotation)
    make(tmp_path / "b", "dreamer", rotation_degrees=rotation)
    caption = curve_plots.amounts(found(tmp_path), "train").legends[0].get_title().get_text()
    assert caption.endswith("batch 16")


def test_a_curve_file_older_than_an_option_has_its_value_of_then(tmp_path):
    run = make(tmp_path / "a")
    (path,) = curve_files.save(tmp_path / "saved", learning_curves.find([run], "train"))
    content = json.loads(path.read_text())
    for name in ("agent", "action_repeat"):
        del content["options"][name]
    path.write_text(json.dumps(content))
    (one,) = frame_draws.series(learning_curves.find([path], "train"))
    assert one.curves[0].xs.tolist() == pytest.approx([102.4])


def test_other_sizes_are_other_series(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b", horizon=10)
    labels = [one.label for one in found(tmp_path)]
    assert labels == ["CLION", "CLION, horizon=10"]


def test_the_command_draws_them(tmp_path, capsys):
    make(tmp_path / "runs" / "a")
    make(tmp_path / "runs" / "b", action_repeat=4)
    out = tmp_path / "draws.png"
    asked = ("--logdirs", tmp_path / "runs", "--layout=draws", "--metric=train", f"--out={out}")
    assert plot(*asked) == 0
    assert out.read_bytes().startswith(MAGIC[".png"])
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 2 curves\n" and not printed.err
    assert plot(*asked, "--steps=99999") == 2
    assert "gets to 99.999K steps" in capsys.readouterr().err
    assert plot(*asked, "--smooth=9") == 2
    assert "--smooth: --layout=draws" in capsys.readouterr().err


def test_nothing_is_interpolated_between_draws(tmp_path):
    for repeat in (2, 4, 8):
        make(tmp_path / f"{repeat}", action_repeat=repeat)
    for repeat in (2, 8):
        make(tmp_path / f"other{repeat}", action_repeat=repeat, seed=1, plus=4.0)
    (one,) = found(tmp_path)
    np.testing.assert_array_equal(one.grid()[1], [[40.0, 40.0, 40.0], [44.0, np.nan, 44.0]])
    (ax,) = curve_plots.amounts([one], "train").axes
    pale, full = (line.get_ydata() for line in ax.lines if line.get_linewidth() > 1)
    assert pale.tolist() == [42.0, 40.0, 42.0]
    np.testing.assert_array_equal(full, [42.0, np.nan, 42.0])
