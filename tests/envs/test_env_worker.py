import concurrent.futures
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from other_processes import ends_within, is_running
from places import ROOT

from clion_tf.envs import EnvError, EnvSpec, RemoteEnv, UnknownTaskError, WorkerError, remote_env
from clion_tf.envs.worker import Session, failure

ZERO = np.zeros(2, np.float32)


def fake(name="counting", **options):
    return EnvSpec(f"env_fakes:{name}", **{"size": (8, 8), **options})


def test_an_episode():
    with RemoteEnv(fake(time_limit=4)) as env:
        assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        assert env.observation_space["image"].shape == (8, 8, 3) and env.renderer == ""
        obs = env.reset(0)
        assert set(obs) == {"image"} and env.observation_space.contains(obs)
        obs, reward, terminated, truncated, info = env.step(ZERO)
        assert env.observation_space.contains(obs)
        assert (reward, terminated, truncated, info) == (
            3,
            False,
            False,
            {"steps": 2},
        )
        assert [type(part) for part in (reward, terminated, truncated)] == [float, bool, bool]
        assert env.step(ZERO)[1:4] == (7, False, True)
        with pytest.raises(EnvError, match="no episode is running"):
            env.step(ZERO)
        assert env.reset(1)["image"].shape == (8, 8, 3)
        pid = env.pid
    assert not is_running(pid)
    env.close()
    with pytest.raises(WorkerError, match="closed"):
        env.step(ZERO)


def frames(env, episode):
    return np.stack([env.reset(episode)["image"]] + [env.step(ZERO)[0]["image"] for _ in range(2)])


def test_episode_depends_on_seed_stream_and_number_only():
    options = {"rotation_degrees": 5.0, "seed": 3}
    with (
        RemoteEnv(fake(**options)) as first,
        RemoteEnv(fake(**options)) as second,
        RemoteEnv(fake(**options, stream=1)) as other,
        RemoteEnv(fake(**options, index=7)) as elsewhere,
    ):
        expected = frames(first, 4)
        np.testing.assert_array_equal(frames(elsewhere, 4), expected)
        frames(second, 0)
        np.testing.assert_array_equal(frames(second, 4), expected)
        assert (frames(second, 5) != expected).any()
        assert (frames(other, 4) != expected).any()


def test_several_workers_at_once():
    with RemoteEnv(fake()) as first, RemoteEnv(fake()) as second:
        for env in (first, second):
            env.send("reset", 0)
        for env in (second, first):
            env.receive()
        first.send("step", ZERO)
        second.send("step", ZERO)
        with pytest.raises(EnvError, match="answer to step has not been received"):
            first.send("step", ZERO)
        assert second.receive()[1] == first.receive()[1] == 3


def test_bad_action_never_reaches_the_environment():
    with RemoteEnv(fake()) as env:
        env.reset(0)
        for action, message in (
            (np.array([np.nan, 0]), "nan, "),
            (np.array([0, -np.inf]), "-inf"),
            (np.zeros(3), "0., 0., 0."),
            (np.array([0, 1.01]), "1.01"),
        ):
            with pytest.raises(
                EnvError, match=r"an action lies in Box\(-1.0, 1.0, .* not .*" + message
            ):
                env.step(action)
        assert env.step(ZERO)[1] == 1 + 2  # its first two control steps


def test_discrete_action():
    with RemoteEnv(fake("discrete")) as env:
        env.reset(0)
        for action in (3, -1, 0.5, np.zeros(3), np.nan):
            with pytest.raises(EnvError, match=r"an action lies in Discrete\(3\), not"):
                env.step(action)
        assert env.step(np.int64(2))[1] == 3


def test_environments_error_arrives_as_one_line_with_its_place():
    with RemoteEnv(fake("failing")) as env:
        env.reset(0)
        with pytest.raises(WorkerError) as caught:
            env.step(np.array([-1.0, 0.0]))
        file = pathlib.Path(__file__).with_name("env_fakes.py")
        lines = file.read_text().splitlines()
        [line] = [n for n, text in enumerate(lines, 1) if "raise ZeroDivisionError" in text]
        assert str(caught.value) == (
            "environment env_fakes:failing failed in step: ZeroDivisionError: the first line and "
            f'the second (File "{file}", line {line}, in step)'
        )
        assert caught.value.raised
        with pytest.raises(EnvError, match="no episode is running"):
            env.step(ZERO)
        env.reset(1)
        assert env.step(ZERO)[1] == 3


def test_errors_of_construction():
    with RemoteEnv(fake("broken")) as env:
        with pytest.raises(WorkerError, match="failed in construction: ValueError: cannot be made"):
            env.wait_ready()
        assert ends_within(env.pid)
    with RemoteEnv(fake("nothing")) as env:
        with pytest.raises(UnknownTaskError, match="has no 'nothing'"):
            env.reset(0)


def test_death_names_the_exit_code():
    with RemoteEnv(fake("failing")) as env:
        env.reset(0)
        with pytest.raises(WorkerError, match="env_fakes:failing died with exit code 3"):
            env.step(np.array([1.0, 0.0]))
        with pytest.raises(WorkerError, match="closed"):
            env.reset(1)


def test_death_names_the_signal():
    with RemoteEnv(fake()) as env:
        env.reset(0)
        os.kill(env.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="died with signal SIGKILL"):
            env.step(ZERO)


def test_hang_ends_in_an_error():
    with RemoteEnv(fake("hanging")) as env:
        env.reset(0)
        env.timeout = 0.3
        with pytest.raises(WorkerError, match=r"hung: no answer to step for 0\.3 s"):
            env.step(ZERO)
        assert not is_running(env.pid)


def test_close_ends_a_hanging_worker(monkeypatch):
    monkeypatch.setattr(remote_env, "GRACE", 0.5)
    env = RemoteEnv(fake("hanging"))
    env.reset(0)
    env.send("step", ZERO)
    env.close()
    assert not is_running(env.pid)


def test_interrupt_is_the_learners_business():
    with RemoteEnv(fake()) as env:
        env.reset(0)
        os.kill(env.pid, signal.SIGINT)
        assert env.step(ZERO)[1] == 3
        assert os.getpgid(env.pid) != os.getpgid(0)  # the terminal's Ctrl-C does not reach it


PARENT = """
import sys, time
sys.path.insert(0, {root!r})
open({marker!r}, "a").write("imported ")
import numpy as np
from clion_tf.envs import EnvSpec, RemoteEnv
env = RemoteEnv(EnvSpec("env_fakes:{name}", size=(8, 8)))
env.reset(0)
env.send("step", np.zeros(2, np.float32))
print(env.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize(
    "name",
    [
        "counting",
        pytest.param(
            "hanging", marks=pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
        ),
    ],
)
def test_no_orphan_of_a_killed_learner_and_main_is_imported_once(name, tmp_path):
    marker = tmp_path / "marker"
    script = tmp_path / "main.py"  # without a guard, as if it imported TensorFlow on top
    script.write_text(PARENT.format(root=str(ROOT), marker=str(marker), name=name))
    fakes_only = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=fakes_only,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        assert ends_within(pid)
    assert marker.read_text() == "imported "


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Function: the ids of the four programs that env_fakes:starting has started, when all run."""
    file = tmp_path / "programs"
    monkeypatch.setenv("PROGRAMS", str(file))

    def wait():
        deadline = time.monotonic() + 100
        while len(found := [int(line) for line in file.read_text().split()]) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert all(map(is_running, found))
        return found

    return wait


def end(env):
    env.close()


def hang(env):
    env.timeout = 0.3
    with pytest.raises(WorkerError, match="hung"):
        env.step(ZERO)


def die(env):
    os.kill(env.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="died with signal SIGKILL"):
        env.step(ZERO)


@linux
@pytest.mark.parametrize("how", [end, hang, die])
def test_with_a_worker_end_the_programs_of_its_environment(how, programs, monkeypatch):
    monkeypatch.setattr(remote_env, "GRACE", 0.5)
    env = RemoteEnv(EnvSpec("env_fakes:starting", observe="vector"))
    env.reset(0)
    found = programs()
    how(env)
    assert not any(map(is_running, found))  # At once: the next worker may need their port.


@linux
def test_programs_end_with_a_killed_learner(programs, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(PARENT.format(root=str(ROOT), marker=str(tmp_path / "m"), name="starting"))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        found = programs()
        parent.kill()
        assert all(ends_within(pid) for pid in (worker, *found))


def line_of(mark):
    """'File "…", line N' of a comment in the fakes that fail."""
    for name in ("failing_envs.py", "failing_helper.py"):
        file = pathlib.Path(__file__).with_name(name)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.endswith(f"# here: {mark}"):
                return f'File "{file}", line {number}, in '
    raise AssertionError(mark)


def broken(name, **options):
    return EnvSpec(f"failing_envs:{name}", **{"observe": "vector", "size": (8, 8), **options})


def assert_told(message, name, text, mark):
    assert f"environment failing_envs:{name} {text}" in message and "\n" not in message
    assert line_of(mark) in message and message.endswith(")")


@pytest.mark.parametrize(
    "name, text, mark",
    [
        ("plain", "failed in construction: KeyError: 'x'", "plain"),
        ("helper", "failed in step: ZeroDivisionError: integer division", "helper"),
        # Neither `sys.exit` in an environment nor an error without a text ends the worker.
        ("exit", "failed in step: SystemExit: 7", "plain"),
        ("mute", "failed in step: Mute (", "plain"),
    ],
)
def test_a_worker_goes_on_after_an_error(name, text, mark):
    with RemoteEnv(broken(name)) as env:
        for _ in range(1 if name == "plain" else 2):
            with pytest.raises(WorkerError) as caught:
                env.reset(0)
                env.step(ZERO)
            assert_told(str(caught.value), name, text, mark)


@pytest.mark.parametrize(
    "name, text, mark",
    [
        ("library", "failed in reset: JSONDecodeError: Expecting property name", "library"),
        ("numpy", "failed in step: LinAlgError: Singular matrix", "numpy"),
        ("render", "failed in reset: ZeroDivisionError: integer division", "helper"),
        ("long", f"failed in step: ValueError: {'x' * 288}… (", "plain"),
    ],
)
def test_an_error_names_the_users_own_line(name, text, mark):
    """As a worker says it, but in this process: there are many of them."""
    spec = broken(name, **({"observe": "image"} if name == "render" else {}))
    session = Session(spec)
    for _ in range(2):
        doing = "reset"
        with pytest.raises(Exception) as caught:
            session.reset(0)
            doing = "step"
            session.step(ZERO)
        assert_told(str(failure(caught.value, spec, doing)), name, text, mark)


@pytest.mark.parametrize("name, mark", [("close", "helper"), ("close_os", "plain")])
def test_an_error_in_close_is_a_line_on_stderr(name, mark, capfd):
    env = RemoteEnv(EnvSpec(f"failing_envs:{name}", observe="vector"))
    env.reset(0)
    env.close()
    [line] = capfd.readouterr().err.splitlines()
    assert f"environment failing_envs:{name} failed in close: " in line and line_of(mark) in line


def test_close_can_be_checked():
    with RemoteEnv(EnvSpec("failing_envs:close", observe="vector")) as env:
        with pytest.raises(WorkerError, match="failed in close: ZeroDivisionError"):
            env.ask("close")
        with pytest.raises(EnvError, match="no episode is running"):
            env.step(ZERO)


def test_a_keeper_ends_all_when_its_stdin_ends():
    """How it learns of the learner's end where a process cannot ask to be told of it."""
    here, there = socket.socketpair()
    program = "import time; print('up', flush=True); time.sleep(600)"
    keeper = [sys.executable, "-I", "-S", str(remote_env._KEEPER), str(there.fileno())]
    with (
        here,
        subprocess.Popen(
            [*keeper, sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[there.fileno()],
        ) as process,
    ):
        there.close()
        assert process.stdout.readline() == b"up\n"
        process.stdin.close()
        assert process.wait(20) == 128 + signal.SIGKILL  # As its command.
        assert here.recv(1) == b""


@linux
def test_a_worker_ends_with_the_thread_that_started_it():
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        env = threads.submit(lambda: RemoteEnv(fake("hanging"))).result()
        env.reset(0)
        env.send("step", ZERO)
        pid = env.pid
    assert ends_within(pid)
    env.close()
