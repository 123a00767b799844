"""The learner's rotation is the workers' rotation."""

import numpy as np
import pytest
import tensorflow as tf

from clion_tf.envs.wrappers import rotate_image
from clion_tf.learning.rotation import rotate

ANGLES = [0.0, 5.0, -5.0, 3.3, -0.7, 30.0, -90.0, 200.0]


def images(count=8, height=64, width=64, seed=0):
    """Noise: every pixel differs from its neighbours by many levels."""
    shape = (count, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("fill", ["edge", "black"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (12, 31), (31, 12)])
def test_is_the_workers_rotation_but_for_rounding(height, width, fill):
    image = images(height=height, width=width)
    found = rotate(tf.constant(image), tf.constant(ANGLES), fill)
    assert found.dtype == tf.float32 and found.shape == image.shape
    pairs = zip(image, ANGLES, strict=True)
    expected = np.stack([rotate_image(one, angle, fill) for one, angle in pairs])
    # Half a level for the workers' rounding, the rest for float32 positions.
    assert np.max(np.abs(found - expected.astype(np.float32))) < 0.55


def test_angle_0_is_the_image():
    image = images(2)
    np.testing.assert_allclose(rotate(tf.constant(image), tf.zeros([2])), image, atol=1e-3)


def test_a_positive_angle_turns_counter_clockwise():
    image = images(2, 9, 9)
    found = rotate(tf.constant(image), tf.constant([90.0, -90.0]))
    expected = [np.rot90(image[0]), np.rot90(image[1], -1)]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_each_image_has_its_own_angle():
    image = np.repeat(images(1), 3, 0)
    found = rotate(tf.constant(image), tf.constant([0.0, 5.0, -5.0]))
    for index, angle in enumerate([0.0, 5.0, -5.0]):
        alone = rotate(tf.constant(image[:1]), tf.constant([angle]))[0]
        np.testing.assert_allclose(found[index], alone, atol=1e-3)
    assert np.mean(np.abs(found[0] - found[1])) > 10
    assert np.mean(np.abs(found[1] - found[2])) > 10


def test_floats_are_rotated_without_rounding():
    image = images(2).astype(np.float32)
    angles = tf.constant([4.0, -2.0])
    scaled = rotate(tf.constant(image / 255 - 0.5), angles)
    np.testing.assert_allclose((scaled + 0.5) * 255, rotate(tf.constant(image), angles), atol=0.01)


@pytest.mark.parametrize("fill", ["edge", "black"])
def test_compiled_by_xla_it_is_the_same(fill):
    image, angles = tf.constant(images()), tf.constant(ANGLES)
    compiled = tf.function(lambda *x: rotate(*x, fill), jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(image, angles), rotate(image, angles, fill), atol=0.05)


def test_black_lies_outside_by_hand():
    """An eighth of a turn: |row| + |column| = 3 comes from 3 / 1.414 - 2 = 0.121 outside, a corner
    from 4 / 1.414 - 2 = 0.828; black is one pixel away."""
    image = np.full((1, 5, 5, 3), 200, np.uint8)
    found = rotate(tf.constant(image), tf.constant([45.0]), "black")[0, ..., 0].numpy()
    row, column = np.mgrid[-2:3, -2:3]
    far = np.abs(row) + np.abs(column)
    expected = np.select([far == 3, far == 4], [200 * 0.8787, 200 * 0.1716], 200.0)
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0])
def test_turns_onto_itself_have_nothing_outside(angle):
    image = tf.constant(images(1))
    found, edge = (rotate(image, tf.constant([angle]), fill) for fill in ("black", "edge"))
    np.testing.assert_allclose(found, edge, atol=0.01)
