"""Who takes part in a run: TF_CONFIG, and what is refused before anything is made."""

import json

import pytest

from clion_tf import run
from clion_tf.config import Config, ConfigError
from clion_tf.console import REFUSED
from clion_tf.distributed import processes

TWO = {"worker": ["a:1", "b:2"]}


def environment(cluster_, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster_, "task": {"type": kind, "index": index}})}


def config(**options):
    return Config(strategy="multiworker", **options)


def test_devices_of_one_process():
    assert processes.check(Config(strategy="mirrored", batch_size=7), {}) == (0, 1)


def test_the_first_worker_or_the_one_chief_is_the_chief():
    assert [processes.check(config(), environment(TWO, index=i)) for i in (0, 1)] == [
        (0, 2),
        (1, 2),
    ]
    led = {"chief": ["c:1"], **TWO}
    assert processes.check(config(batch_size=51), environment(led, "chief")) == (0, 3)
    assert processes.check(config(batch_size=51), environment(led, index=1)) == (2, 3)


@pytest.mark.parametrize(
    "environ, part",
    [
        ({}, "set TF_CONFIG"),
        ({"TF_CONFIG": "{"}, "not of the form"),
        ({"TF_CONFIG": "[]"}, "not of the form"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "KeyError('task')"),
        ({"TF_CONFIG": '{"cluster": 3, "task": {}}'}, "not of the form"),
        (environment({"worker": []}), "no worker number 0"),
        (environment({"worker": ["a:1", "a:1"]}), "'a:1' is not host:port, or is there twice"),
        (environment({"worker": ["a:1", "b"]}), "'b' is not host:port"),
        (environment({"worker": ["a:1", 5]}), "5 is not host:port"),
        (environment({"worker": ["a:1", "b:0"]}), "'b:0' is not host:port"),
        (environment({"worker": ["a:1", "b:65536"]}), "'b:65536' is not host:port"),
        (environment({"chief": ["c:1", "d:1"], **TWO}), "one chief, take part"),
        (environment({"ps": ["c:1"], **TWO}), "only workers"),
        (environment(TWO, index=2), "no worker number 2"),
        (environment(TWO, index="0"), "no worker number 0"),
        (environment(TWO, index=-1), "no worker number -1"),
        (environment(TWO, "evaluator"), "no evaluator number 0"),
        (environment(TWO, ["worker"]), "no ['worker'] number 0"),
        (environment({"worker": ["a:1", "b:2", "c:3"]}), "not divisible by the 3 processes"),
    ],
)
def test_refused(environ, part, tmp_path, capfd, monkeypatch):
    with pytest.raises(ConfigError) as caught:
        processes.check(config(), environ)
    assert part in str(caught.value) and "\n" not in str(caught.value)
    # And by the command, before a folder is made.
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "new"
    assert run.main([f"--logdir={folder}", "--strategy=multiworker"]) == REFUSED
    assert part in capfd.readouterr().err and not folder.exists()


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ConfigError, match="--strategy=mirrored: not with --agent=drq"):
        processes.check(Config(strategy="mirrored", agent="drq"), {})
    with pytest.raises(ConfigError, match="--jit=on: not with --strategy=mirrored"):
        processes.check(Config(strategy="mirrored", jit="on"), {})
