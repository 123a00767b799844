"""Random shifts: a crop of the padded image, by offsets that come from the noise."""

import drq_numpy
import numpy as np
import pytest
import tensorflow as tf
from drq_agents import seeded

from clion_tf.agents.drq.frame_stacks import shift, views
from clion_tf.learning.noise import GivenNoise


def images(rows, height=6, width=5):
    return np.random.default_rng(0).integers(0, 256, (rows, height, width, 2), dtype=np.uint8)


def test_shift_is_a_crop_of_the_padded_image():
    pad = 2
    offsets = [(r, c) for r in range(2 * pad + 1) for c in range(2 * pad + 1)]
    image = images(len(offsets))
    found = shift(image, tf.constant(offsets), pad).numpy()
    for one, at, result in zip(image, offsets, found, strict=True):
        np.testing.assert_array_equal(result, drq_numpy.shifted(one, *at, pad))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[offsets.index((pad, pad))], image[offsets.index((2, 2))])


def test_views_are_copies_with_shifts_of_their_own():
    # Uniform numbers on [-1, 1), 5 choices of a width of 0.4.
    uniform = np.array([[-1.0, -0.5], [0.1, 0.3], [0.7, 0.99999997], [-0.7, 0.0]])
    expected = [(0, 1), (2, 3), (4, 4), (0, 2)]
    image = images(2)
    found = views(image, 2, 2, GivenNoise({"here": uniform}), "here").numpy()
    for i, at in enumerate(expected):
        np.testing.assert_array_equal(found[i], drq_numpy.shifted(image[i % 2], *at, 2))


def test_all_offsets_are_equally_likely():
    ramp = np.arange(21, dtype=np.uint8)
    image = np.broadcast_to(10 * ramp[:, None, None], (4000, 21, 21, 1))
    found = views(tf.constant(image[:2000]), 2, 4, seeded(), "shift").numpy()
    counts = np.bincount(found[:, 10, 0, 0] // 10, minlength=21)
    assert counts[:6].sum() == counts[15:].sum() == 0  # From 4 up to 4 down, and no further.
    assert np.all(np.abs(counts[6:15] - 4000 / 9) < 5 * np.sqrt(4000 / 9))
    assert not np.array_equal(found[:2000], found[2000:])


@pytest.mark.parametrize("noise", [GivenNoise(), seeded()])
def test_no_padding_is_no_shift(noise):
    image = images(3)
    np.testing.assert_array_equal(views(image, 2, 0, noise, "shift"), np.tile(image, (2, 1, 1, 1)))


def test_no_noise_is_no_shift():
    image = images(3)
    np.testing.assert_array_equal(views(image, 1, 4, GivenNoise(), "shift"), image)
