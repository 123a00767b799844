import numpy as np
import pytest

from clion_tf.envs import EnvError, EnvSpec, UnknownTaskError
from clion_tf.envs.make_env import episode_seed, make
from clion_tf.envs.wrappers import Disturb, SelectObservation


def fake(name="counting", **options):
    return EnvSpec(f"env_fakes:{name}", **{"size": (8, 8), **options})


def test_time_limit_is_in_control_steps_and_rounded_up():
    env = make(fake(time_limit=7, action_repeat=3))
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[2:] for _ in range(3)]
    assert [truncated for _, truncated, _ in ends] == [False, False, True]
    assert ends[-1] == (False, True, {"steps": 3})


def test_what_disturbs_nothing_is_no_wrapper():
    assert type(make(fake())) is SelectObservation
    assert type(make(fake(rotation_degrees=1.0))) is Disturb


def test_environment_with_its_own_image_is_not_rendered():
    env = make(fake("image"))
    assert env.reset(seed=0)[0]["image"].shape == (8, 8, 3)


def episode(env):
    """Observations of a reset and two steps."""
    actions = [np.full(2, value, np.float32) for value in (0.3, -0.2)]
    return [env.reset(seed=7)[0], *(env.step(action)[0] for action in actions)]


@pytest.mark.parametrize("name", ["counting", "image", "pictured"])
@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_images_do_not_depend_on_the_picture(name, degrees):
    env = make(fake(name, rotation_degrees=degrees, picture_size=(20, 24)))
    plain = episode(make(fake(name, rotation_degrees=degrees)))
    for with_picture, without in zip(episode(env), plain, strict=True):
        assert set(without) == {"image"} and env.observation_space.contains(with_picture)
        np.testing.assert_array_equal(with_picture["image"], without["image"])


def test_picture_is_the_environments_own_or_the_image_enlarged():
    rendered = episode(make(fake("pictured", picture_size=(20, 20))))[1]["picture"]
    # Two control steps: 20 everywhere, fitted in with black above and below.
    assert (rendered[5:15] == 20).all() and not rendered[:5].any() and not rendered[15:].any()
    seen = episode(make(fake("counting", picture_size=(16, 16))))[1]
    np.testing.assert_array_equal(seen["picture"], seen["image"].repeat(2, 0).repeat(2, 1))


def test_picture_is_rotated_with_the_image():
    seen = episode(make(fake("counting", picture_size=(8, 8), rotation_degrees=90.0)))
    straight = episode(make(fake("counting", picture_size=(8, 8))))
    for turned, unturned in zip(seen, straight, strict=True):
        np.testing.assert_array_equal(turned["picture"], turned["image"])
        assert (turned["picture"] != unturned["picture"]).any()


def test_picture_of_a_wrong_kind():
    env = make(fake("pictured", picture_size=(8, 8)))
    env.unwrapped.render = lambda: None
    with pytest.raises(EnvError, match=r"render\(\) must give uint8 \(height, width, 3\)"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    "task, message",
    [
        ("no_such_module:make", "no module 'no_such_module' for task"),
        ("no_such_package.module:make", "no module 'no_such_package.module'"),
        ("env_fakes:nothing", "module 'env_fakes' has no 'nothing'"),
    ],
)
def test_factory_that_is_not_there(task, message):
    with pytest.raises(UnknownTaskError, match=message):
        make(EnvSpec(task))


def test_missing_import_of_a_factory_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist"):
        make(fake("importing"))


def test_episode_seeds_differ_in_each_part():
    specs = [EnvSpec("t", seed=seed, stream=stream) for seed in range(5) for stream in range(5)]
    seeds = [episode_seed(spec, episode) for spec in specs for episode in range(20)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
    assert episode_seed(specs[7], 3) == episode_seed(EnvSpec("other", seed=1, stream=2, index=9), 3)


def test_workers_side_imports_no_tensorflow(run_python):
    code = """
import sys
import clion_tf.envs.worker, clion_tf.envs.make_env, clion_tf.envs.dmc, clion_tf.envs.opengl
clion_tf.envs.opengl.load_suite()
loaded = {"tensorflow", "keras", "tf_keras", "jax", "torch"} & set(sys.modules)
assert not loaded, loaded
"""
    assert run_python("-c", code).stderr == ""


def test_learners_side_imports_no_opengl(run_python):
    code = """
import sys
import clion_tf.envs
loaded = {"mujoco", "dm_control", "OpenGL", "clion_tf.envs.worker"} & set(sys.modules)
assert not loaded, loaded
"""
    assert run_python("-c", code).stderr == ""
