"""dm_control with OpenGL; always in another process than pytest's."""

import dataclasses

import numpy as np
import pytest

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError, opengl

PAPERS_TASKS = (
    "walker_walk walker_run walker_stand hopper_stand cartpole_swingup cheetah_run finger_spin "
    "pendulum_swingup"
)


def test_papers_tasks_step_and_render(run_python):
    code = """
import sys
import numpy as np
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make

for task in sys.argv[1:]:
    env = make(EnvSpec(task))
    first = env.reset(seed=0)[0]
    env.action_space.seed(0)
    for _ in range(3):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    image = obs["image"]
    assert list(obs) == ["image"] and image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert image.std() > 5 and (image != first["image"]).any(), task
    assert type(reward) is float and 0 <= reward <= 2 and not terminated and not truncated
    assert info == {"steps": 2}
    assert env.action_space.dtype == np.float32 and (env.action_space.high == 1).all()
    env.close()
"""
    result = run_python("-c", code, *PAPERS_TASKS.split())
    assert result.returncode == 0, result.stderr


def test_length_of_an_episode(run_python):
    code = """
import numpy as np
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make

env = make(EnvSpec("dmc_walker_walk", observe="vector"))
env.reset(seed=0)
for step in range(1, 501):
    _, _, terminated, truncated, info = env.step(np.zeros(6, np.float32))
    assert (terminated, truncated) == (False, step == 500), step
    assert info == {"steps": 2}
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_state_beside_the_image(run_python):
    code = """
import numpy as np
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make

env = make(EnvSpec("walker_walk", observe="both"))
seen = env.reset(seed=0)[0]
assert list(seen) == ["image", "vector"] and env.observation_space.contains(seen)
raw = env.unwrapped._env.task.get_observation(env.unwrapped._env.physics)
expected = np.concatenate([np.ravel(raw[key]) for key in ("height", "orientations", "velocity")])
assert seen["vector"].shape == (24,)
np.testing.assert_array_equal(seen["vector"], expected.astype(np.float32))
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_state_alone_needs_no_opengl(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    with RemoteEnv(EnvSpec("cartpole_swingup", observe="vector")) as env:
        seen = env.reset(0)
        assert list(seen) == ["vector"] and seen["vector"].shape == (5,) and env.renderer == ""


def test_tasks_that_terminate(run_python):
    """Those of lqr only: all others end by time, so that their discount is always 1."""
    code = """
import inspect
from dm_control import suite
from dm_control.rl import control

for domain in sorted({domain for domain, _ in suite.ALL_TASKS}):
    tasks = [kind for _, kind in inspect.getmembers(getattr(suite, domain), inspect.isclass)
             if issubclass(kind, control.Task)]
    assert tasks
    if any(kind.get_termination is not control.Task.get_termination for kind in tasks):
        print(domain)
"""
    result = run_python("-c", code, MUJOCO_GL="off")
    assert result.stdout == "lqr\n", result.stderr


def test_springs_of_lqr(run_python):
    code = """
import numpy as np
from clion_tf.envs import EnvSpec
from clion_tf.envs.make_env import make

# dm_control's 1e10 for an unlimited actuator is no range: it gets the actor's own numbers.
env = make(EnvSpec("lqr_lqr_2_1", observe="vector"))
env.reset(seed=0)
env.step(np.full(1, 0.5, np.float32))
assert env.unwrapped._env.physics.data.ctrl == 0.5
assert np.isinf(env.unwrapped.action_space.high).all()

# The model itself is random here; all workers of a run must get the same one.
def springs(**options):
    env = make(EnvSpec("lqr_lqr_2_1", **options)).unwrapped
    return env._env.physics.model.jnt_stiffness.tolist()

assert springs(seed=1) == springs(seed=1, index=2) != springs(seed=2)
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_same_pixels_as_physics_render(run_python):
    code = """
import numpy as np
from clion_tf.envs import EnvSpec
from clion_tf.envs.dmc import DMControl
from dm_control import suite

for domain, task, camera in ("walker", "walk", 0), ("cheetah", "run", 0), ("quadruped", "walk", 2):
    ours = DMControl(EnvSpec(f"{domain}_{task}"))
    ours.reset(seed=3)
    theirs = suite.load(domain, task)
    theirs.reset()
    for _ in range(3):
        ours.step(np.full(ours.action_space.shape, 0.3))
        state = ours._env.physics.get_state()
        for physics in (ours._env.physics, theirs.physics):
            with physics.reset_context():  # recomputes what follows from the state
                physics.set_state(state)
        expected = theirs.physics.render(64, 64, camera_id=camera)
        assert theirs.physics.model.vis.global_.offwidth > 64
        np.testing.assert_array_equal(ours.render(), expected)
"""
    result = run_python("-c", code, MUJOCO_GL="egl")
    assert result.returncode == 0, result.stderr


def test_a_picture_beside_the_image_changes_no_pixel_of_it():
    plain_spec = EnvSpec("walker_walk", seed=1)
    spec = dataclasses.replace(plain_spec, picture_size=(192, 256))
    with RemoteEnv(plain_spec) as plain, RemoteEnv(spec) as env:
        action = np.linspace(-1, 1, 6, dtype=np.float32)
        seen = [env.reset(2), *(env.step(action)[0] for _ in range(3))]
        np.testing.assert_array_equal(np.stack([obs["image"] for obs in seen]), frames(plain, 2))
    for obs in seen:
        picture = obs["picture"].astype(float)
        assert picture.shape == (192, 256, 3)
        # The same scene: its middle 192 x 192, made smaller, is nearly the image.
        shrunk = picture[:, 32:224].reshape(64, 3, 64, 3, 3).mean((1, 3))
        assert np.abs(shrunk - obs["image"]).mean() < 8
        # And drawn anew: an enlarged image would have blocks of one colour.
        assert (picture[::3] != picture[1::3]).any(-1).mean() > 0.1


def frames(env, episode):
    """[4, 64, 64, 3]"""
    action = np.linspace(-1, 1, 6, dtype=np.float32)
    images = [env.reset(episode)["image"]]
    return np.stack(images + [env.step(action)[0]["image"] for _ in range(3)])


def test_episodes_are_pure():
    spec = EnvSpec("walker_walk", seed=1, rotation_degrees=5.0)
    elsewhere = EnvSpec("walker_walk", seed=1, index=1, rotation_degrees=5.0)
    other_stream = EnvSpec("walker_walk", seed=1, stream=1, rotation_degrees=5.0)
    with RemoteEnv(spec) as first, RemoteEnv(elsewhere) as second, RemoteEnv(other_stream) as other:
        expected = frames(first, 2)
        assert first.renderer
        frames(second, 0)
        np.testing.assert_array_equal(frames(second, 2), expected)
        assert (frames(second, 3) != expected).any()
        assert (frames(other, 2) != expected).any()


def test_unknown_task():
    with RemoteEnv(EnvSpec("walker_wlak")) as env:
        with pytest.raises(UnknownTaskError, match="did you mean walker_walk"):
            env.wait_ready()


def test_check_of_the_machine(run_python):
    result = run_python("-m", "clion_tf.envs.opengl", MUJOCO_GL="")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("rendered 64x64 with ") and result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "glx"}, "unset PYOPENGL_PLATFORM, which is glx"),
        ({"MUJOCO_GL": "disabled"}, "set MUJOCO_GL to egl, osmesa or glfw; --observe=vector"),
        ({"MUJOCO_GL": "nonsense"}, "set MUJOCO_GL to egl"),
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "500"}, "unset MUJOCO_EGL_DEVICE_ID, which"),
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "gpu"}, "unset MUJOCO_EGL_DEVICE_ID, which"),
    ],
)
def test_failure_says_what_to_do(run_python, variables, expected):
    result = run_python("-m", "clion_tf.envs.opengl", **{"PYOPENGL_PLATFORM": "", **variables})
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("cannot render with MUJOCO_GL=" + variables["MUJOCO_GL"])
    assert expected in result.stderr and result.stderr.count("\n") == 1
    assert "apt-get" not in result.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"MUJOCO_GL": "EGL", "PYOPENGL_PLATFORM": "Egl"},
        {"MUJOCO_GL": " egl ", "MUJOCO_EGL_DEVICE_ID": ""},
    ],
)
def test_what_can_be_understood_renders(run_python, variables):
    result = run_python("-m", "clion_tf.envs.opengl", **{"PYOPENGL_PLATFORM": "", **variables})
    assert result.returncode == 0 and "rendered 64x64 with egl: " in result.stdout, result.stderr


@pytest.mark.parametrize("backend, package", [("egl", "libegl1"), ("osmesa", "libosmesa6")])
def test_missing_libraries_are_to_be_installed(monkeypatch, backend, package):
    for name in ("PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MUJOCO_GL", backend)
    with pytest.raises(EnvError, match=f"apt-get install -y {package}"):
        with opengl.rendering_errors():
            raise AttributeError("'NoneType' object has no attribute 'glGetError'")


def test_a_worker_says_why_it_cannot_render(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    with RemoteEnv(EnvSpec("walker_walk")) as env:
        with pytest.raises(EnvError, match=r"^cannot render with MUJOCO_GL=disabled"):
            env.wait_ready()
