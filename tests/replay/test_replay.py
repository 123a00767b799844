"""Episodes on disk, the sequences drawn from them, and drawing ahead; no TensorFlow here."""

import errno
import functools
import os
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clion_tf.console import UserError
from clion_tf.replay.episode_files import frame, save_episode, stacked
from clion_tf.replay.observation_shapes import PIXELS
from clion_tf.replay.replay_buffer import Replay, prefetch

KEYS = {"image", "action", "reward", "discount"}


def make(frames=12, label=0, action_size=2):
    """An episode that counts: frame t of episode `label` has the reward 100 * label + t."""
    time = np.arange(frames)
    image = np.zeros((frames, 64, 64, 3), np.uint8)
    image[:] = (time % 256)[:, None, None, None]
    image[:, 0, 0, 0] = label
    return {
        "image": image,
        "action": np.stack([time] * action_size, -1).astype(np.float32),
        "reward": (100 * label + time).astype(np.float32),
        "discount": np.ones(frames, np.float32),
    }


def filled(folder, lengths, **options):
    options = {"batch_length": 5, **options}
    memory = Replay(folder, **options)
    for label, frames in enumerate(lengths):
        memory.add(make(frames, label))
    return memory


def same(left, right):
    return left.keys() == right.keys() and all((left[k] == right[k]).all() for k in left)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def assert_whole(batch):
    """Every row is a piece of one counting episode, the same piece under every key."""
    assert batch.keys() == KEYS
    assert {k: v.dtype for k, v in batch.items()} == {
        "image": np.uint8,
        "action": np.float32,
        "reward": np.float32,
        "discount": np.float32,
    }
    assert (np.diff(batch["reward"], axis=1) == 1).all()
    label, time = np.divmod(batch["reward"], 100)
    assert (batch["image"][:, :, 0, 0, 0] == label).all()
    assert (batch["image"][:, :, 5, 6, 2] == time).all()
    assert (batch["action"] == time[..., None]).all()


# Building and saving


def test_frames_are_copies_and_make_an_episode():
    buffer = np.zeros((64, 64, 3), np.uint8)
    frames = [frame({"image": buffer}, np.zeros(2), 0.0, 1.0)]
    buffer[:] = 9
    frames.append(frame({"image": buffer}, np.array([0.5, -1.0]), 2.0, 0.0))
    episode = stacked(frames)
    assert {k: (v.shape, str(v.dtype)) for k, v in episode.items()} == {
        "image": ((2, 64, 64, 3), "uint8"),
        "action": ((2, 2), "float32"),
        "reward": ((2,), "float32"),
        "discount": ((2,), "float32"),
    }
    assert episode["image"][:, 0, 0, 0].tolist() == [0, 9]
    assert episode["action"].tolist() == [[0, 0], [0.5, -1]]
    assert episode["reward"].tolist() == [0, 2]
    assert episode["discount"].tolist() == [1, 0]


def test_names_and_bytes_depend_on_the_episode_only(tmp_path):
    first = save_episode(tmp_path / "a", 12, make(501))
    again = save_episode(tmp_path / "b", 12, make(501))
    assert first.name == again.name == "000012-501.npz"
    assert first.read_bytes() == again.read_bytes()
    assert names(tmp_path / "a") == ["000012-501.npz"]
    # As the original Dreamer reads it.
    assert int(first.stem.rsplit("-", 1)[-1]) - 1 == 500
    with np.load(first, allow_pickle=False) as archive:
        assert same(dict(archive), make(501))


def test_crash_before_the_rename_leaves_no_visible_episode(tmp_path, monkeypatch):
    def power_loss(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", power_loss)
    with pytest.raises(KeyboardInterrupt):
        save_episode(tmp_path, 0, make())
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.npz"))
    memory = Replay(tmp_path, 5)
    assert memory.load() == 0
    memory.add(make())
    assert names(tmp_path) == ["000000-12.npz"]


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_episode(tmp_path, 0, make())
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"reward": np.zeros(11, np.float32)}, "cannot have shape"),
        ({"image": np.zeros((12, 32, 32, 3), np.uint8)}, r"'image' has shape \(32, 32, 3\)"),
        ({"image": np.zeros((12, 64, 64, 3))}, "'image' cannot be float64"),
        ({"image": np.zeros((12, 64, 64, 1), np.uint8)}, "three channels"),
        ({"image": np.zeros((12, 64, 64), np.uint8)}, "cannot have shape"),
        ({"reward": np.arange(12)}, "'reward' cannot be int64"),
        ({"reward": np.full(12, np.nan, np.float32)}, "'reward' has numbers that are not finite"),
        ({"action": np.full((12, 2), np.inf, np.float32)}, "'action' has numbers"),
        ({"action": np.zeros((12, 0), np.float32)}, r"'action' cannot have shape \(12, 0\)"),
        ({"action": np.zeros((12, 3), np.float32)}, r"shape \(3,\) a frame, not \(2,\)"),
    ],
)
def test_what_is_no_episode_is_not_saved(tmp_path, change, message):
    memory = Replay(tmp_path, 5, shapes={**PIXELS, "action": (2,)})
    with pytest.raises(ValueError, match=message) as caught:
        memory.add({**make(), **change})
    assert "\n" not in str(caught.value)
    assert len(memory) == 0 and names(tmp_path) == []


# Sampling


def test_sequences_are_pieces_of_episodes(tmp_path):
    memory = filled(tmp_path, [12, 30, 7])
    batch = memory.sample(40, 0)
    assert batch["image"].shape == (40, 5, 64, 64, 3)
    assert batch["action"].shape == (40, 5, 2)
    assert batch["reward"].shape == batch["discount"].shape == (40, 5)
    assert_whole(batch)
    assert set(np.unique(batch["reward"] // 100)) == {0, 1, 2}
    assert len(memory) == 3
    assert memory.transitions == 11 + 29 + 6


def test_a_batch_depends_on_seed_update_and_episodes_only(tmp_path):
    memory = filled(tmp_path, [12, 30, 7])
    expected = memory.sample(8, 3)
    memory.sample(8, 4)
    other = Replay(tmp_path, 5)
    other.load()
    assert same(other.sample(8, 3), expected)
    assert same(memory.sample(8, 3), expected)
    assert not same(memory.sample(8, 4), expected)
    seeded = Replay(tmp_path, 5, seed=1)
    seeded.load()
    assert not same(seeded.sample(8, 3), expected)


def test_order_on_disk_does_not_matter(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two with spaces, é"
    for folder, order in ((one, [0, 1, 2]), (two, [2, 0, 1])):
        for label in order:
            save_episode(folder, label, make(12, label))
    left, right = Replay(one, 5), Replay(two, 5)
    assert left.load() == right.load() == 3
    assert same(left.sample(20, 7), right.sample(20, 7))


def test_starts_are_uniform_and_reach_the_last_frame(tmp_path):
    memory = filled(tmp_path, [8])
    starts = memory.sample(4000, 0)["reward"][:, 0].astype(int)
    counts = np.bincount(starts)
    assert len(counts) == 4  # 8 frames have 4 places for 5.
    assert (np.abs(counts - 1000) < 150).all()
    exact = filled(tmp_path / "exact", [5])
    assert exact.sample(2, 0)["reward"][:, -1].tolist() == [4, 4]


def test_episodes_are_drawn_uniformly_whatever_their_length(tmp_path):
    labels = filled(tmp_path, [6, 60]).sample(2000, 0)["reward"][:, 0] // 100
    assert abs(labels.mean() - 0.5) < 0.06


def test_short_episodes_are_skipped(tmp_path):
    memory = filled(tmp_path, [4, 5, 1])
    assert (memory.sample(20, 0)["reward"][:, 0] == 100).all()
    memory = filled(tmp_path / "short", [4, 1])
    with pytest.raises(ValueError, match="the longest has 4 frames"):
        memory.sample(1, 0)
    with pytest.raises(ValueError, match="0 episodes"):
        Replay(tmp_path / "none", 5).sample(1, 0)


def test_balance_prefers_ends(tmp_path):
    memory = filled(tmp_path, [8], balance=True)
    counts = np.bincount(memory.sample(4000, 0)["reward"][:, 0].astype(int))
    # Of 8 draws, 0 1 2 are themselves and 3 to 7 become 3.
    assert (np.abs(counts - np.array([500, 500, 500, 2500])) < 150).all()


def test_newest_is_spread_over_the_newest_episode(tmp_path):
    memory = filled(tmp_path, [50, 11])
    batch = memory.newest(4, 3)
    assert_whole(batch)
    assert batch["reward"][:, 0].tolist() == [100, 104, 107]  # 3.5 rounds to even.
    short = memory.newest(12, 3)  # It has 11 frames.
    assert short["reward"].tolist() == [list(range(100, 111))] * 3
    with pytest.raises(ValueError, match="no episode in"):
        Replay(tmp_path / "none", 5).newest(4, 3)


# Files of others, damaged files, resuming


def test_the_original_dreamers_compressed_float16_episodes(tmp_path):
    episode = make(12)
    for key in ("action", "reward", "discount"):
        episode[key] = episode[key].astype(np.float16)
    episode["orientations"] = np.ones((12, 14), np.float16)
    np.savez_compressed(tmp_path / "20200101T000000-0123abc-12.npz", **episode)
    memory = Replay(tmp_path, 5)
    assert memory.load() == 1
    assert_whole(memory.sample(10, 0))
    # New episodes are numbered after it and come after it.
    assert memory.add(make(9, 1)).name == "000001-9.npz"
    again = Replay(tmp_path, 5)
    assert again.load() == 2
    assert same(again.sample(10, 0), memory.sample(10, 0))
    assert_whole(again.sample(10, 0))


def test_uncompressed_files_of_other_dtypes_and_orders(tmp_path):
    episode = make(12)
    np.savez(tmp_path / "a-12.npz", **{**episode, "action": episode["action"].astype(">f8")})
    np.savez(tmp_path / "b-12.npz", **{**episode, "action": np.asfortranarray(episode["action"])})
    memory = Replay(tmp_path, 5)
    assert memory.load() == 2
    assert_whole(memory.sample(10, 0))


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _broken_compressed(path):
    np.savez_compressed(path, **make())
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[200:middle] = bytes(middle - 200)
    path.write_bytes(data)


def _short_member(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:-4] if name == "reward.npy" else data)


def _pointing_nowhere(path):
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x05\x06") + 16] ^= 8  # Where the archive's directory begins.
    path.write_bytes(data)


DAMAGES = {
    "pointing_nowhere": _pointing_nowhere,
    "truncated": _truncated,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no zip at all"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "broken_compressed": _broken_compressed,
    "short_member": _short_member,
    "wrong_keys": lambda path: np.savez(path, picture=make()["image"]),
    "no_discount": lambda path: np.savez(
        path, **{k: v for k, v in make().items() if k != "discount"}
    ),
    "wrong_dtype": lambda path: np.savez(path, **{**make(), "image": make()["image"] / 255}),
    "wrong_length": lambda path: np.savez(path, **{**make(), "reward": np.zeros(11, "f4")}),
    "nan_reward": lambda path: np.savez(path, **{**make(), "reward": np.full(12, np.nan, "f4")}),
    "zero_length": lambda path: np.savez(path, **{k: v[:0] for k, v in make().items()}),
    "scalar_reward": lambda path: np.savez(path, **{**make(), "reward": np.float32(1)}),
    "other_actions": lambda path: np.savez(path, **make(action_size=5)),
    "pickle": lambda path: np.savez(path, **{**make(), "reward": np.array([object()] * 12)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files_are_set_aside(tmp_path, caplog, damage):
    filled(tmp_path, [12, 12, 12])
    DAMAGES[damage](tmp_path / "000001-12.npz")
    memory = Replay(tmp_path, 5)
    assert memory.load() == 2
    assert names(tmp_path) == ["000000-12.npz", "000001-12.npz.bad", "000002-12.npz"]
    assert "000001-12.npz" in caplog.text and len(caplog.records) == 1
    assert_whole(memory.sample(10, 0))
    # No number is given twice.
    assert memory.add(make(12, 3)).name == "000003-12.npz"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_the_disk_does_not_give_is_not_damaged(tmp_path, monkeypatch, number):
    filled(tmp_path, [12])

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            Replay(tmp_path, 5).load()
    assert names(tmp_path) == ["000000-12.npz"] and Replay(tmp_path, 5).load() == 1


def test_resume_takes_what_the_checkpoint_knows(tmp_path):
    whole = filled(tmp_path / "whole", [12, 12, 12, 12])
    filled(tmp_path / "cut", [12, 12, 12, 20])
    resumed = Replay(tmp_path / "cut", 5)
    assert resumed.load(count=3) == resumed.next_index == 3
    assert resumed.sample(20, 1)["reward"].max() < 300
    assert resumed.add(make(12, 3)).name == "000003-12.npz"
    assert names(tmp_path / "cut") == names(tmp_path / "whole")
    assert same(resumed.sample(20, 2), whole.sample(20, 2))


def test_resume_counts_foreign_files(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"2020-{number}-12.npz", **make(12, number))
    memory = Replay(tmp_path, 5)
    memory.load()
    memory.add(make(12, 2))
    memory.add(make(12, 3))
    resumed = Replay(tmp_path, 5)
    assert resumed.load(count=3) == 3
    assert set(resumed.sample(50, 0)["reward"][:, 0] // 100) == {0, 1, 2}


def test_following_another_process_and_changing_nothing(tmp_path):
    chief = filled(tmp_path, [12, 9])
    other = Replay(tmp_path, 5, capacity=30)
    other.load(1, tidy=False)
    assert len(other) == 1
    chief.add(make(14, label=2))
    other.load(3, tidy=False)
    assert [len(other), other.transitions] == [2, 21]  # The first one gave way.
    assert same(other.sample(6, 4), _reloaded(tmp_path, 3).sample(6, 4))
    other.load(2, tidy=False)  # The chief went back.
    assert same(other.sample(6, 4), _reloaded(tmp_path, 2).sample(6, 4))
    # What is no whole episode is the chief's to put aside; who follows holds one less and says so.
    (tmp_path / "000003-9.npz").write_bytes(b"half")
    before = names(tmp_path)
    for reader in (other, Replay(tmp_path, 5)):
        held = reader.load(4, tidy=False)
        assert held == len(reader) and reader.next_index == 4
    other.load(3, tidy=False)
    other.load(4, tidy=False)
    assert names(tmp_path) == before


def test_what_can_be_drawn_stays_beyond_the_capacity(tmp_path):
    """Else episodes that get too short for a sequence would end a run for good."""
    memory = filled(tmp_path, [20, 20, 4, 4, 4], capacity=6)  # Of 5 frames a sequence.
    assert [entry.path.name for entry in memory._entries] == [
        "000001-20.npz", "000003-4.npz", "000004-4.npz",
    ]  # fmt: skip
    assert set(memory.sample(20, 0)["reward"][:, 0] // 100) == {1}
    memory.prune(5)
    assert names(tmp_path) == ["000001-20.npz", "000003-4.npz", "000004-4.npz"]
    again = Replay(tmp_path, 5, capacity=6)
    assert again.load(5) == 3 and same(again.sample(20, 3), memory.sample(20, 3))
    memory.add(make(6, 5))  # It can be drawn from, and stands for the older one.
    assert [entry.path.name for entry in memory._entries] == ["000005-6.npz"]
    memory.prune(6)
    assert names(tmp_path) == ["000005-6.npz"]


@pytest.mark.parametrize("capacity", [None, 30, 1000])
def test_lost_episodes_are_noticed_and_what_gave_way_is_not_lost(tmp_path, capacity):
    memory = filled(tmp_path, [12, 9, 12, 9, 12], capacity=capacity)  # Transitions: 49.
    assert not memory.lacks(5)
    if capacity:
        memory.prune(5)
    files = sorted(tmp_path.iterdir())
    assert len(files) == (5 if capacity != 30 else 3)

    def lacks():
        reader = Replay(tmp_path, 5, capacity=capacity)
        reader.load(5)
        return reader.lacks(5)

    assert not lacks()
    for lost in (files[-1], files[-2]):
        content = lost.read_bytes()
        lost.unlink()
        assert lacks(), lost
        lost.write_bytes(content)
    for lost in files[:-1]:
        lost.unlink()
    assert lacks()


def _reloaded(folder, count):
    replay = Replay(folder, 5, capacity=30)
    replay.load(count)
    return replay


def test_starting_over_ignores_leftovers(tmp_path):
    filled(tmp_path, [12, 12])
    memory = Replay(tmp_path, 5)
    assert memory.load(count=0) == 0
    memory.add(make(8))
    assert names(tmp_path) == ["000000-8.npz", "000001-12.npz"]


def test_adding_without_loading_keeps_what_is_there(tmp_path):
    filled(tmp_path, [12, 12])
    memory = Replay(tmp_path, 5)
    assert memory.add(make(12, 2)).name == "000002-12.npz"
    assert len(memory) == 3


def test_a_file_that_shrinks_later_is_named(tmp_path):
    memory = filled(tmp_path, [12])
    os.truncate(tmp_path / "000000-12.npz", 1000)
    with pytest.raises(UserError, match=r"000000-12\.npz: has become shorter"):
        memory.sample(1, 0)


def test_memory_is_flat_in_the_number_of_episodes(tmp_path):
    source = save_episode(tmp_path, 0, make(6))
    for index in range(1, 1000):
        os.link(source, tmp_path / f"{index:06d}-6.npz")
    memory = Replay(tmp_path, 5)
    tracemalloc.start()
    try:
        assert memory.load() == 1000
        memory.sample(10, 0)
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2e6, f"{grown / 1000:.0f} bytes for each episode"
    assert peak < 8e6


# Drawing ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetch_keeps_the_order(tmp_path):
    memory = filled(tmp_path, [12, 12])
    seen = []
    for update, batch in prefetch(functools.partial(memory.sample, 4), range(10, 17), depth=2):
        assert same(batch, memory.sample(4, update))
        seen.append(update)
    assert seen == list(range(10, 17))
    assert not threads()
    assert list(prefetch(functools.partial(memory.sample, 4), [])) == []


def test_prefetch_stays_within_its_depth():
    drawn, waited = [], threading.Event()

    def draw(number):
        drawn.append(number)
        return number

    for number, _ in prefetch(draw, range(20), depth=3):
        waited.wait(0.005)
        assert len(drawn) <= number + 1 + 3
    assert drawn == list(range(20))


def test_prefetch_hands_on_errors_of_the_thread():
    def draw(number):
        return 1 // (3 - number)

    seen = []
    with pytest.raises(ZeroDivisionError):
        for number, _ in prefetch(draw, range(10)):
            seen.append(number)
    assert seen == [0, 1, 2]
    assert not threads()


def test_prefetch_ends_its_thread_when_left_early():
    for _number, _ in prefetch(lambda number: number, range(100)):
        break
    assert not threads()
    with pytest.raises(RuntimeError, match="consumer"):
        for _number, _ in prefetch(lambda number: number, range(100)):
            raise RuntimeError("consumer")
    assert not threads()


def test_a_file_and_then_its_name_are_on_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_ino))
    path = save_episode(tmp_path, 0, make())
    assert flushed == [path.stat().st_ino, tmp_path.stat().st_ino]
