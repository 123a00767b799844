"""What becomes of a task's own observations, by `observe`."""

import gymnasium
import numpy as np
import pytest
from env_fakes import CountingEnv
from gymnasium import spaces

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv
from clion_tf.envs.make_env import make
from clion_tf.envs.observation_choice import plan
from clion_tf.envs.wrappers import SelectObservation

PICTURE = spaces.Box(0, 255, (20, 30, 3), np.uint8)
MIXED = spaces.Dict(
    {
        "turn": spaces.Discrete(3, start=1),
        "camera": PICTURE,
        "body": spaces.Tuple((spaces.Box(-1, 2, (2, 2), np.float64), spaces.MultiBinary(2))),
        "dice": spaces.MultiDiscrete([2, 3]),
    }
)
VALUE = {
    "turn": 2,
    "camera": np.full((20, 30, 3), 9, np.uint8),
    "body": (np.array([[0.0, 0.5], [1.0, 1.5]]), np.array([1, 0], np.int8)),
    "dice": np.array([1, 2]),
}
# In the space's order of keys: body, (camera,) dice, turn.
VECTOR = np.array([0, 0.5, 1, 1.5, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0], np.float32)


def select(space, observe):
    env = CountingEnv()
    env.observation_space = space
    return SelectObservation(env, EnvSpec("t", observe=observe, size=(8, 8)))


@pytest.mark.parametrize(
    "observe, keys",
    [
        ("auto", ["image", "vector"]),
        ("both", ["image", "vector"]),
        ("image", ["image"]),
        ("vector", ["vector"]),
    ],
)
def test_mixed_observations(observe, keys):
    env = select(MIXED, observe)
    seen = env.observation(VALUE)
    assert sorted(seen) == sorted(env.observation_space.spaces) == keys
    assert env.observation_space.contains(seen)
    if "image" in keys:
        assert seen["image"].shape == (8, 8, 3) and (seen["image"] == 9).all()
    if "vector" in keys:
        np.testing.assert_array_equal(seen["vector"], VECTOR)
        assert seen["vector"].dtype == np.float32
        space = env.observation_space["vector"]
        assert space.low[:4].tolist() == [-1] * 4 and space.high[:6].tolist() == [2] * 4 + [1] * 2
    assert not plan(MIXED, observe, "t").rendered


@pytest.mark.parametrize(
    "space, expected",
    [
        (PICTURE, {"auto": "i", "image": "i", "vector": "!", "both": "!"}),
        (spaces.Box(-1, 1, (3,)), {"auto": "r", "image": "r", "vector": "v", "both": "rv"}),
        (spaces.Box(-1, 1, ()), {"auto": "r", "image": "r", "vector": "v", "both": "rv"}),
        (spaces.Discrete(4), {"auto": "r", "image": "r", "vector": "v", "both": "rv"}),
        (spaces.Box(0, 255, (128,), np.uint8), {"auto": "r", "vector": "v"}),
        (spaces.Text(5), {"auto": "r", "image": "r", "vector": "!", "both": "!"}),
        (spaces.Dict({"a": PICTURE, "b": spaces.Text(5)}), {"auto": "!", "image": "i"}),
        (spaces.Dict({"a": PICTURE, "b": PICTURE}), {"auto": "!", "image": "!"}),
        (spaces.Box(0, 255, (20, 30, 4), np.uint8), {"auto": "!", "image": "!"}),
        (spaces.Box(0, 1, (20, 30, 3), np.float32), {"auto": "!", "image": "!", "vector": "!"}),
        (spaces.Dict({"a": PICTURE, "b": spaces.Box(0, 1, (0,))}), {"auto": "i", "both": "!"}),
        # A table or a grey picture of floats; boards of several layers.
        (spaces.Box(0, 1, (64, 64)), {"auto": "r", "image": "r", "vector": "v"}),
        (spaces.Box(0, 1, (8, 8, 12)), {"auto": "r", "image": "r", "vector": "v"}),
        (spaces.Box(0, 255, (4, 64, 64, 3), np.uint8), {"auto": "!", "image": "!", "vector": "!"}),
        (spaces.Box(0, 1, (4, 3, 64, 64)), {"auto": "!", "image": "!", "vector": "!"}),
        (spaces.Box(0, 255, (4, 64, 64), np.uint8), {"auto": "!", "image": "!"}),
        (spaces.Box(0, 1, (64, 64, 4)), {"auto": "r", "image": "r", "vector": "v"}),
    ],
)
def test_plans(space, expected):
    """i: its own image, r: rendered, v: a vector, !: refused, in one line that names the task."""
    for observe, code in expected.items():
        if code == "!":
            with pytest.raises(EnvError, match=r"^task\b") as error:
                plan(space, observe, "task")
            assert "\n" not in str(error.value)
        else:
            found = plan(space, observe, "task")
            flags = ((found.image, "i"), (found.rendered, "r"), (found.vector, "v"))
            assert "".join(letter for flag, letter in flags if flag) == code


@pytest.mark.parametrize("shape", [(4, 64, 64, 3), (3, 64, 64, 4), (4, 64, 64), (64, 80, 4)])
def test_of_several_pictures_one_is_to_be_given(shape):
    with pytest.raises(EnvError, match=r"several pictures, .*give one .*: the agent itself rememb"):
        plan(spaces.Box(0, 255, shape, np.uint8), "image", "task")


@pytest.mark.parametrize(
    "space, text",
    [
        ({"a": spaces.Discrete(2)}, "a dict, no gymnasium.Space; wrap it in gymnasium.spaces.Dict"),
        ([spaces.Discrete(2)], "a list, no gymnasium.Space; wrap it in gymnasium.spaces.Tuple"),
        ((3,), "a tuple, no gymnasium.Space; wrap it in gymnasium.spaces.Tuple"),
        (None, "missing"),
        (5, "a int, no gymnasium.Space"),
    ],
)
@pytest.mark.parametrize("name", ["observation_space", "action_space"])
def test_what_is_no_space(space, text, name, monkeypatch):
    env = CountingEnv()
    setattr(env, name, space)
    monkeypatch.setattr("env_fakes.spaceless", lambda spec: env, raising=False)
    with pytest.raises(EnvError) as error:
        make(spec("spaceless", "vector"))
    assert str(error.value) == f"env_fakes:spaceless: its {name} is {text}"


def spec(name, observe, **options):
    return EnvSpec(f"env_fakes:{name}", size=(8, 8), observe=observe, **options)


def test_vector_alone_renders_nothing():
    with RemoteEnv(spec("counting", "vector")) as env:
        assert list(env.observation_space.spaces) == ["vector"]
        assert env.reset(0)["vector"].tolist() == [0]
        seen = env.step(np.zeros(2, np.float32))[0]
        assert list(seen) == ["vector"] and seen["vector"].tolist() == [2]
    env = make(spec("counting", "vector"))
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    assert env.unwrapped.renders == 0


def test_both_gives_the_image_that_it_would_give_alone():
    both, alone = make(spec("counting", "both")), make(spec("counting", "auto"))
    seen = both.reset(seed=3)[0]
    assert list(seen) == ["image", "vector"]
    np.testing.assert_array_equal(seen["image"], alone.reset(seed=3)[0]["image"])


def test_rotation_turns_the_image_and_leaves_the_vector():
    env = make(spec("counting", "both", rotation_degrees=90.0))
    straight = make(spec("counting", "both")).reset(seed=0)[0]
    seen = env.reset(seed=0)[0]
    assert (seen["image"] != straight["image"]).any()
    np.testing.assert_array_equal(seen["vector"], straight["vector"])


def test_a_picture_for_people_beside_a_vector():
    env = make(spec("counting", "vector", picture_size=(16, 16)))
    seen = env.reset(seed=0)[0]
    assert sorted(seen) == ["picture", "vector"] and seen["picture"].shape == (16, 16, 3)


class Blind(gymnasium.Env):
    """Neither an image nor a rendering."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-1, 1, (3,))

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}


def test_what_cannot_be_seen(monkeypatch):
    monkeypatch.setattr("env_fakes.blind", lambda spec: Blind(), raising=False)
    for observe in ("auto", "image", "both"):
        with pytest.raises(EnvError, match=r"env_fakes:blind cannot be seen.*--observe=vector"):
            make(spec("blind", observe))
    with pytest.raises(EnvError, match="env_fakes:blind cannot render, so there is no picture"):
        make(spec("blind", "vector", picture_size=(8, 8)))
    assert list(make(spec("blind", "vector")).reset(seed=0)[0]) == ["vector"]


@pytest.mark.parametrize("shape, channels", [((64, 64), ""), ((4, 64, 64), " of 1 or 3 channels")])
def test_what_looks_like_a_picture_is_named(shape, channels, monkeypatch):
    env = Blind()
    env.observation_space = spaces.Dict({"eye": spaces.Box(0, 1, shape)})
    monkeypatch.setattr("env_fakes.blind", lambda spec: env, raising=False)
    with pytest.raises(EnvError) as error:
        make(spec("blind", "auto"))
    text = f"no image (eye, float32 {shape}, would be one as uint8 from 0 to 255{channels}) and has"
    assert text in str(error.value)


def test_a_factory_must_return_an_environment(monkeypatch):
    monkeypatch.setattr("env_fakes.number", lambda spec: 5, raising=False)
    with pytest.raises(EnvError, match=r"env_fakes:number must return a gymnasium\.Env, not int"):
        make(spec("number", "auto"))
