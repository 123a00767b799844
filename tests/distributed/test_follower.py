"""What the processes beside the chief do as it tells them: batches, and the end."""

import numpy as np
import pytest

from clion_tf.config import Config, ConfigError, to_flagfile
from clion_tf.distributed.processes import Source, Team, follow
from clion_tf.distributed.replicated_agent import PeerLost
from clion_tf.replay.replay_buffer import Replay, ReplayError

SHAPES = {"vector": (3,), "action": (2,)}


def add(replay, label, frames=12):
    random = np.random.default_rng(label)
    replay.add(
        {
            "vector": random.normal(size=(frames, 3)).astype("f4"),
            "action": random.uniform(-1, 1, (frames, 2)).astype("f4"),
            "reward": np.full(frames, label, "f4"),
            "discount": np.ones(frames, "f4"),
        }
    )


@pytest.fixture
def chief(tmp_path):
    replay = Replay(tmp_path / "episodes", 5, 7, shapes=SHAPES)
    add(replay, 0)
    add(replay, 1)
    return replay


@pytest.fixture
def source(chief, tmp_path):
    config = Config(logdir=str(tmp_path), batch_length=5, batch_size=4, seed=7)
    return Source(config, SHAPES)


def told(chief, updates, last, state=False):
    holds = [len(chief), chief.transitions]
    return {
        "first": updates[0],
        "count": len(updates),
        "last": last,
        "episodes": chief.next_index,
        "holds": holds,
        "state": state,
    }


def same(source, chief, updates, last, **others):
    drawn = source.batches(told(chief, updates, last, **others))
    for number, batch in zip(updates, drawn, strict=True):
        expected = chief.sample(4, number)
        assert all(np.array_equal(batch[key], expected[key]) for key in expected)


def test_every_phase_has_the_chiefs_batches(source, chief):
    same(source, chief, [0, 1], 3, state=True)
    same(source, chief, [2, 3], 3)
    # Another phase before the next episode: an episode was longer than `train_every`.
    same(source, chief, [4, 5], 6)
    same(source, chief, [6], 6)
    add(chief, 2)
    same(source, chief, [7, 8], 8)
    # The chief went back: other numbers, fewer episodes.
    chief.load(2)
    same(source, chief, [(1 << 32) + 4], (1 << 32) + 4, state=True)


def test_episodes_that_cannot_be_seen(source, chief, monkeypatch):
    monkeypatch.setattr("clion_tf.distributed.processes.PATIENCE", 0.0)
    message = told(chief, [0], 0, state=True)
    message["holds"] = [3, 33]
    with pytest.raises(ReplayError, match="holds 2 episodes of 22 transitions here, for the chief"):
        source.batches(message)


class Wire(Team):
    """A team whose messages are listed; it is cut after so many."""

    def __init__(self, last):
        self._agent, self._last, self.messages = None, last, []

    def exchange(self, message=None, vote=False):
        if len(self.messages) == self._last:
            raise PeerLost("cut")
        self.messages.append(message)
        return message or {"end": 3}, vote


@pytest.mark.parametrize("last", [1, 2])
def test_nobody_ends_before_all_have_heard_of_the_end(last):
    """Only who has the first message sends the second; of that nobody needs an answer."""
    chief = Wire(last)
    chief.end(3)
    assert chief.messages == [{"end": 3}, {}][:last]
    worker = Wire(last)
    assert follow(worker, lambda: False) == 3
    assert len(worker.messages) == last


class Odd(Wire):
    """Two processes, of which the worker has another horizon than the chief."""

    def __init__(self, chief, last):
        super().__init__(last)
        self.chief, self.precision = chief, "32"
        self.chiefs = Config(precision="32", horizon=9)
        self.config = self.chiefs if chief else Config(horizon=10)

    def exchange(self, message=None, vote=False):
        super().exchange(message, vote)
        first = len(self.messages) == 1
        return {"options": to_flagfile(self.chiefs)} if first else {}, not first


@pytest.mark.parametrize("last", [2, 3])
@pytest.mark.parametrize("chief, text", [(True, "another process"), (False, "--horizon=10")])
def test_nobody_refuses_before_all_have_heard_that_one_does(chief, text, last):
    process = Odd(chief, last)
    with pytest.raises(ConfigError, match=text):
        process._compare_options()
    assert len(process.messages) == last
