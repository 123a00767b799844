"""What a run's folder keeps and what it loses when a run resumes."""

import pytest

from clion_tf.config import Config
from clion_tf.files import atomic_write
from clion_tf.logdir.run_folder import LogdirError, RunFolder, open_logdir


def unfinished(path):
    """What a writer that is killed leaves: its file has no name yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = atomic_write(path)
    writer.__enter__().write(b"half")
    [left] = path.parent.glob(f".{path.name}*")
    return left, writer


@pytest.mark.parametrize("lock", [True, False])
def test_what_was_half_written_goes_when_the_run_resumes(tmp_path, lock):
    folder = RunFolder(tmp_path)
    folder.save_options(Config(logdir=str(tmp_path)))
    torn = [unfinished(p / "000000005.npz") for p in (folder.checkpoints, folder.episodes)]
    whole = folder.checkpoints / "000000004.npz"
    whole.write_bytes(b"whole")
    with open_logdir(Config(logdir=str(tmp_path), lock=lock)):
        # Without a lock they may be another run's, which is writing them.
        assert [path.exists() for path, _ in torn] == [not lock] * 2
        assert whole.read_bytes() == b"whole"


def test_fewer_steps_than_are_made_are_refused_and_change_nothing(tmp_path):
    folder, own = RunFolder(tmp_path), {"logdir": str(tmp_path), "prefill": 1000}
    folder.save_options(Config(steps=3000, **own))
    folder.checkpoints.mkdir()
    (folder.checkpoints / "000003004-stopped.npz").write_bytes(b"")
    with (
        pytest.raises(LogdirError, match="has made 3004 environment steps already, more than"),
        open_logdir(Config(steps=2000, **own)),
    ):
        pass
    assert folder.options().steps == 3000
    for steps in (3000, 4000):  # An episode may end a little after the last step.
        with open_logdir(Config(steps=steps, **own)):
            assert folder.options().steps == steps


def test_evaluations_that_a_resumed_run_makes_again_are_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    folder.diagnostics.mkdir()
    folder.videos.mkdir()
    kept = [folder.diagnostics / "000000900.json", folder.videos / "test-000001000.mp4"]
    kept += [folder.videos / "mine-000009000.mp4", folder.diagnostics / "notes.json"]
    gone = [folder.diagnostics / "000001001.json", folder.videos / "test-000002000.gif"]
    gone += [folder.videos / "openloop-000002000.gif"]
    for path in (*kept, *gone):
        path.write_bytes(b"")
    folder.forget_after(1000)
    assert [path.exists() for path in (*kept, *gone)] == [True] * 4 + [False] * 3
