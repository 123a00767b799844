import math

import numpy as np
import pytest

from clion_tf.envs.wrappers import FILLS, rotate_image


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def bilinear_by_hand(image, degrees, fill="edge"):
    """One pixel at a time: turn its position back by the angle, mix four neighbours.

    Beyond the edge the picture goes on with its edge's pixels, or with black ones.
    """
    height, width, _ = image.shape
    angle = math.radians(degrees)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    result = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            # Axes as in school, y upwards: a clockwise turn undoes a counter-clockwise one.
            x, y = column - middle_x, middle_y - row
            back_x = math.cos(angle) * x + math.sin(angle) * y
            back_y = -math.sin(angle) * x + math.cos(angle) * y
            source_row, source_column = middle_y - back_y, middle_x + back_x
            top, left = math.floor(source_row), math.floor(source_column)
            down, along = source_row - top, source_column - left
            corners = [[pixel(image, top + i, left + j, fill) for j in (0, 1)] for i in (0, 1)]
            upper, lower = ((1 - along) * a + along * b for a, b in corners)
            result[row, column] = (1 - down) * upper + down * lower
    return result


def pixel(image, row, column, fill):
    height, width, channels = image.shape
    if fill == "black" and not (0 <= row < height and 0 <= column < width):
        return np.zeros(channels)
    return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)].astype(float)


def test_zero_is_identity():
    image = noise(64, 64)
    np.testing.assert_array_equal(rotate_image(image, 0.0), image)


@pytest.mark.parametrize("turns", [-1, 1, 2, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_right_angles_are_rot90(turns, size):
    image = noise(size, size)
    np.testing.assert_array_equal(rotate_image(image, 90 * turns), np.rot90(image, turns))


def test_positive_is_counter_clockwise_on_the_screen():
    image = np.zeros((9, 9, 3), np.uint8)
    image[4, 7] = 255  # right of the centre
    assert rotate_image(image, 90)[1, 4].tolist() == [255, 255, 255]  # above the centre
    rows = np.arange(9)
    right_half = rotate_image(image, 5)[..., 0].astype(float)
    assert (right_half.sum(1) @ rows) / right_half.sum() < 4  # a little higher up


@pytest.mark.parametrize("degrees", [-33.0, -5.0, 0.7, 5.0, 45.0, 120.0])
@pytest.mark.parametrize("shape", [(5, 5), (4, 7)])
@pytest.mark.parametrize("fill", FILLS)
def test_equals_bilinear_by_hand(degrees, shape, fill):
    image = noise(*shape)
    by_hand = bilinear_by_hand(image, degrees, fill)
    # Rounded to the nearest integer; a mean of exactly .5 may go either way.
    assert np.abs(rotate_image(image, degrees, fill) - by_hand).max() <= 0.5 + 1e-4


def test_edges_repeat():
    plain = np.full((8, 8, 3), 200, np.uint8)
    np.testing.assert_array_equal(rotate_image(plain, 17.0), plain)
    image = np.zeros((9, 9, 1), np.uint8)
    image[:, -1] = 90
    # The right corners come from beyond the right edge, and so have the edge's colour.
    turned = rotate_image(image, 10.0)
    assert turned[0, -1, 0] == 90 and turned[-1, -1, 0] < 90


def test_black_comes_in_from_outside():
    plain = np.full((64, 64, 3), 200, np.uint8)
    turned = rotate_image(plain, 5.0, "black")
    corners = turned[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any() and (turned[16:48, 16:48] == 200).all()
    # No angle, nothing from outside.
    np.testing.assert_array_equal(rotate_image(plain, 0.0, "black"), plain)


def test_shape_and_dtype_and_input_are_kept():
    image = noise(6, 10, 1)
    before = image.copy()
    turned = rotate_image(image, 3.0)
    assert turned.shape == (6, 10, 1) and turned.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
