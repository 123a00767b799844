"""Who takes part in a run: TF_CONFIG, and what is refused before anything is made."""

import json

import pytest

from clion_tf import cluster, run
from clion_tf.cluster import Task
from clion_tf.config import Config, ConfigError

TWO = {"worker": ["a:1", "b:2"]}


def tf_config(cluster_, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster_, "task": {"type": kind, "index": index}})}


def config(**options):
    return Config(strategy="multiworker", **options)


def test_without_strategy_nothing_is_read():
    assert cluster.check(Config(), {"TF_CONFIG": "nonsense"}) == Task(0, 1)
    assert cluster.check(Config(strategy="mirrored", batch_size=7), {}) == Task(0, 1)


def test_the_first_worker_or_the_one_chief_is_the_chief():
    assert [cluster.check(config(), tf_config(TWO, index=i)) for i in (0, 1)] == [(0, 2), (1, 2)]
    led = {"chief": ["c:1"], **TWO}
    assert cluster.check(config(batch_size=51), tf_config(led, "chief")) == (0, 3)
    assert cluster.check(config(batch_size=51), tf_config(led, index=1)) == (2, 3)
    assert Task(0, 2).chief and not Task(1, 2).chief


@pytest.mark.parametrize(
    "environ, part",
    [
        ({}, "set TF_CONFIG"),
        ({"TF_CONFIG": "{"}, "not of the form"),
        ({"TF_CONFIG": "[]"}, "not of the form"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "no 'task'"),
        ({"TF_CONFIG": '{"cluster": 3, "task": {}}'}, "not of the form"),
        (tf_config({"worker": []}), "0 workers"),
        (tf_config({"worker": ["a:1", "a:1"]}), "the same address"),
        (tf_config({"worker": ["a:1", "b"]}), "'b' is not host:port"),
        (tf_config({"worker": ["a:1", 5]}), "5 is not host:port"),
        (tf_config({"chief": ["c:1", "d:1"], **TWO}), "2 chiefs"),
        (tf_config({"ps": ["c:1"], **TWO}), "'ps'"),
        (tf_config(TWO, index=2), "no worker number 2"),
        (tf_config(TWO, index="0"), "no worker number 0"),
        (tf_config(TWO, index=-1), "no worker number -1"),
        (tf_config(TWO, "evaluator"), "no evaluator number 0"),
        (tf_config({"worker": ["a:1", "b:2", "c:3"]}), "not divisible by the 3 processes"),
    ],
)
def test_refused(environ, part, tmp_path, capfd, monkeypatch):
    with pytest.raises(ConfigError) as caught:
        cluster.check(config(), environ)
    assert part in str(caught.value) and "\n" not in str(caught.value)
    # And by the command, before a folder is made.
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "new"
    assert run.main([f"--logdir={folder}", "--strategy=multiworker"]) == run.REFUSED
    assert part in capfd.readouterr().err and not folder.exists()


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ConfigError, match="--strategy=mirrored: not with --agent=drq"):
        cluster.check(Config(strategy="mirrored", agent="drq"), {})
    with pytest.raises(ConfigError, match="--jit=on: not with --strategy=mirrored"):
        cluster.check(Config(strategy="mirrored", jit="on"), {})
