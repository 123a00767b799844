"""Pictures of any size and layout."""

import gymnasium
import numpy as np
import pytest

from clion_tf.envs.observation_choice import channel_axis, is_image, resembles
from clion_tf.envs.wrappers import fit


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_grey_and_channels_first_become_colour():
    colour, grey = noise(20, 30, 3), noise(20, 30)
    np.testing.assert_array_equal(fit(colour, (20, 30)), colour)
    np.testing.assert_array_equal(fit(colour.transpose(2, 0, 1), (20, 30)), colour)
    expected = np.stack([grey] * 3, -1)
    for picture in (grey, grey[..., None], grey[None]):
        np.testing.assert_array_equal(fit(picture, (20, 30)), expected)


def test_height_and_width_are_not_mixed_up():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:20] = 255
    small = fit(picture, (10, 16))
    assert small.shape == (10, 16, 3) and small.dtype == np.uint8
    assert (small[:4] == 255).all() and (small[6:] == 0).all()


def test_shrinking_weighs_every_pixel():
    """A line of one pixel in eight keeps its share of the light, wherever it lies."""
    for column in range(8, 16):
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, column] = 240
        small = fit(picture, (8, 8)).astype(float)
        assert abs(small.sum(1) - 240 / 8).max() <= 2, column


def test_enlarging_keeps_plain_colours():
    assert (fit(np.full((7, 9, 3), 77, np.uint8), (64, 64)) == 77).all()


@pytest.mark.parametrize("shape", [(8, 8, 4), (3, 8, 3), (4, 8, 8), (8,), (0, 8, 3)])
def test_what_is_no_picture(shape):
    assert channel_axis(shape) is None


def test_channels():
    assert [channel_axis(s) for s in ((9, 8), (9, 8, 1), (9, 8, 3), (1, 9, 8), (3, 9, 8))] == [
        2, 2, 2, 0, 0,
    ]  # fmt: skip


def box(low, high, shape, dtype):
    return gymnasium.spaces.Box(low, high, shape, dtype)


@pytest.mark.parametrize(
    "space, image, looks",
    [
        (box(0, 255, (64, 64, 3), np.uint8), True, "picture"),
        (box(0, 255, (7, 7), np.uint8), True, ""),
        (box(0, 255, (4, 64, 64), np.uint8), True, "stack"),
        (box(0, 255, (128,), np.uint8), False, ""),
        (box(0, 1, (64, 64, 3), np.float32), False, "picture"),
        (box(0, 1, (3, 64, 64), np.float32), False, "picture"),
        (box(0, 1, (64, 64, 1), np.uint8), False, "picture"),
        (box(0, 1, (64, 64), np.float32), False, "grey"),
        (box(0, 1, (64, 64, 4), np.float32), False, "stack"),
        (box(0, 1, (4, 64, 64, 3), np.float32), False, "stack"),
        (box(0, 1, (8, 8, 3), np.float32), False, ""),
        (box(0, 12, (8, 8), np.uint8), False, ""),
        (gymnasium.spaces.Discrete(3), False, ""),
    ],
)
def test_which_spaces_hold_pictures(space, image, looks):
    assert (is_image(space), resembles(space)) == (image, looks)
