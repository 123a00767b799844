"""Which curves are averaged, and how."""

import dataclasses

import numpy as np

from clion_tf.analysis.curves.curve import ORIGINAL, PUBLISHED, Curve
from clion_tf.analysis.curves.series import all_series, titles, warnings


def a_curve(**others):
    ys = others.pop("ys", [1.0, 2.0])
    xs = np.array(others.pop("xs", np.arange(1.0, len(ys) + 1)), float)
    values = {"task": "walker_walk", "method": "CLION", "seed": "0", "source": "x"} | others
    return Curve(xs=xs, ys=np.array(ys, float), **values)


def test_runs_of_different_experiments_are_not_averaged():
    found = all_series(
        [
            a_curve(),
            a_curve(seed="1"),
            a_curve(rotation=5.0, test_rotation=5.0),
            a_curve(rotation=5.0),
            a_curve(setup="cpu sizes"),
            a_curve(method="Dreamer"),
            a_curve(method="dreamer", kind=PUBLISHED),
            a_curve(method="dreamer", kind=ORIGINAL),
        ]
    )
    panels = dict.fromkeys(one.panel.title for one in found)
    assert list(panels) == [
        "walker_walk",
        "walker_walk, ±5° in training, ±0° in testing",
        "walker_walk, ±5° rotation",
    ]
    assert [(s.label, len(s.curves)) for s in found if s.panel == found[0].panel] == [
        ("CLION, paper sizes", 2),
        ("CLION, cpu sizes", 1),
        ("Dreamer, paper sizes", 1),
        ("Dreamer (original code)", 1),
        ("Dreamer (published)", 1),
    ]


def test_one_setup_is_not_in_the_names():
    (found,) = all_series([a_curve(setup="cpu sizes")])
    assert found.label == "CLION"


def test_names_have_what_setups_do_not_share():
    found = all_series(
        [a_curve(setup="cpu sizes, horizon=9, a=1"), a_curve(setup="cpu sizes, a=1")]
    )
    assert [one.label for one in found] == ["CLION", "CLION, horizon=9"]


def test_what_tells_panels_apart_is_in_their_titles_not_in_the_names():
    """So that a method has one name, and one colour, in all panels."""
    short, long = "cpu sizes, action_repeat=4", "cpu sizes, action_repeat=8"
    curves = [a_curve(setup=short), a_curve(setup=short, method="Dreamer")]
    found = all_series([*curves, a_curve(setup=long, task="hopper_hop")])
    assert [one.label for one in found] == ["CLION", "CLION", "Dreamer"]
    named = list(titles(found).values())
    assert named == ["hopper_hop, action_repeat=8", "walker_walk, action_repeat=4"]
    # Where runs of one panel differ in it, names say it in all.
    found = all_series([*curves, *(a_curve(setup=long, task=t) for t in ("walker_walk", "b"))])
    labels = ["CLION, action_repeat=8", "CLION, action_repeat=4", "CLION, action_repeat=8"]
    assert [one.label for one in found] == [*labels, "Dreamer, action_repeat=4"]
    assert list(titles(found).values()) == ["b", "walker_walk"]


def test_a_seed_that_counts_twice_is_told():
    assert warnings([a_curve(), a_curve(seed="1")]) == []
    (line,) = warnings([a_curve(source="p"), a_curve(source="q")])
    assert "seed 0 counts 2 times (p, q)" in line


def test_grid_interpolates_inside_each_run_only():
    (found,) = all_series(
        [a_curve(xs=[0, 10], ys=[0, 10]), a_curve(seed="1", xs=[5, 20], ys=[1, 4])]
    )
    xs, ys = found.grid()
    assert xs.tolist() == [0, 5, 10, 20]
    np.testing.assert_allclose(ys, [[0, 5, 10, np.nan], [np.nan, 1, 2, 4]])


def test_smoothing_averages_backwards():
    curve = a_curve(xs=[10, 20, 30, 100], ys=[1, 3, 8, 50])
    assert curve.part(20, 100).ys.tolist() == [1, 2, 5.5, 50]
    assert curve.part(10**9, 100).ys.tolist() == [1, 2, 4, 15.5]
    assert curve.part(0, 100).ys.tolist() == curve.ys.tolist()


def test_cutting():
    short, late = a_curve(xs=[1, 2, 3], ys=[1, 2, 3]), a_curve(xs=[9], ys=[9])
    published = dataclasses.replace(short, kind=PUBLISHED)
    cut = [one.part(0, 1.5).xs.tolist() for one in (short, late, published)]
    assert cut == [[1], [], [1, 2]]
