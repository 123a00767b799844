"""Stacks of frames: their order, an episode's start, and fig. 6's rotation of a whole stack."""

import drq_numpy
import numpy as np
import pytest
from drq_agents import SIZE, tiny_batch
from scipy import ndimage

from clion_tf.agents.drq import frame_stacks
from clion_tf.envs.wrappers import rotate_image


def test_transition_is_frames_before_and_after_the_action():
    data = tiny_batch()
    obs, next_obs = frame_stacks.transition(data, turned=None)
    np.testing.assert_array_equal(obs, drq_numpy.stacked(data["image"], 0))
    np.testing.assert_array_equal(next_obs, drq_numpy.stacked(data["image"], 1))


def test_acting_sees_what_the_replay_gives():
    """The first frame stands in for those before it; later stacks are the replay's."""
    frames = tiny_batch()["image"]
    state = frame_stacks.begin(len(frames), SIZE)
    seen = []
    for t in range(4):
        stack, state = frame_stacks.push(state, frames[:, t])
        seen.append(stack.numpy())
    np.testing.assert_array_equal(seen[0], np.tile(frames[:, 0], (1, 1, 1, 3)))
    start = np.concatenate([frames[:, :1], frames[:, :3]], 1)
    np.testing.assert_array_equal(seen[1], drq_numpy.stacked(start, 0))
    np.testing.assert_array_equal(seen[2], drq_numpy.stacked(frames, 0))
    np.testing.assert_array_equal(seen[3], drq_numpy.stacked(frames, 1))


def test_a_black_first_frame_is_a_frame():
    state = frame_stacks.begin(1, SIZE)
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    _, state = frame_stacks.push(state, black)
    stack, _ = frame_stacks.push(state, black + 9)
    np.testing.assert_array_equal(np.unique(stack[..., :6]), [0])


def smooth(count, size):
    """Pictures without edges, on which roundings differ by one at most."""
    noise = np.random.default_rng(0).uniform(0, 255, (count, size, size, 9))
    return ndimage.gaussian_filter(noise * 3, (0, 2, 2, 0)).clip(0, 255).astype(np.uint8)


def test_turning_a_stack_is_the_environments_rotation_of_each_frame_by_one_angle():
    images, degrees = smooth(3, 84), np.array([5.0, -5.0, 2.5], np.float32)
    found = frame_stacks.turn(images, degrees).numpy()
    for image, angle, result in zip(images, degrees, found, strict=True):
        for frame in range(3):
            part = slice(3 * frame, 3 * frame + 3)
            expected = rotate_image(image[..., part], float(angle))
            difference = np.abs(result[..., part].astype(int) - expected)
            assert difference.max() <= 1 and (difference > 0).mean() < 0.01
    assert found.dtype == np.uint8


def test_no_angle_changes_nothing():
    images = smooth(2, 84)
    np.testing.assert_array_equal(frame_stacks.turn(images, np.zeros(2, np.float32)), images)


@pytest.mark.parametrize("fill", ["edge", "black"])
def test_a_transition_is_turned_by_the_angles_of_its_newest_frames(fill):
    data = tiny_batch()
    turned = frame_stacks.transition(data, turned=fill)
    plain = frame_stacks.transition(data, turned=None)
    for frame, (found, stack) in enumerate(zip(turned, plain, strict=True), start=2):
        np.testing.assert_array_equal(
            found, frame_stacks.turn(stack, data["rotation"][:, frame], fill)
        )
    assert not np.array_equal(turned[0][..., 3:6], turned[1][..., :3])  # One frame, two angles.
