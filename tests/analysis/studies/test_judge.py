"""tools/judge.py: agents of several runs on each one's episodes."""

import json

import pytest
from small_agents import tiny_config
from tool_modules import tool
from trained import save_tiny_run

from clion_tf.config import to_flagfile


def run(*words):
    return tool("judge").main(["--logdirs", *map(str, words)])


def test_every_agent_on_every_ones_episodes(tmp_path, capsys):
    save_tiny_run(tmp_path / "a" / "seed0")
    # Without an evaluator, and with other weights.
    save_tiny_run(tmp_path / "b" / "seed0", evaluator=False, seed=3)
    out = tmp_path / "out.json"
    words = [tmp_path / "a" / "seed0", tmp_path / "b" / "seed0"]
    assert run(*words, "--episodes=1", f"--out={out}") == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 5 and table[0].startswith("agent")
    content = json.loads(out.read_text())
    assert content["steps"] == {"a/seed0": 1000, "b/seed0": 1000} and content["episodes"] == 1
    found = content["found"]
    assert list(found) == [
        f"{agent}/seed0 on {player}/seed0's" for agent in "ab" for player in "ab"
    ]
    assert "auc" in found["a/seed0 on b/seed0's"] and "auc" not in found["b/seed0 on a/seed0's"]
    assert all(
        {"gradient_image", "gradient_decoding", "gradient_cosine"} <= set(row)
        for row in found.values()
    )
    # Not the same agent twice, nor the same episodes.
    assert len({row["image_loss"] for row in found.values()}) == 4


def test_refusals(tmp_path, capsys):
    save_tiny_run(tmp_path / "a")
    save_tiny_run(tmp_path / "b", action_repeat=4)
    (tmp_path / "c").mkdir()
    config = tiny_config(agent="drq", logdir=str(tmp_path / "c"))
    (tmp_path / "c" / "run.flags").write_text(to_flagfile(config))
    for words, message in (
        (["a", "a"], "names a run twice"),
        (["a", "b"], "different tasks, views or action repeats"),
        (["a", "none"], "no run of clion_tf there"),
        (["c"], "no checkpoint there yet"),
    ):
        assert run(*(tmp_path / word for word in words)) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    with pytest.raises(SystemExit) as end:
        run(tmp_path / "a", "--episodes=0")
    assert end.value.code == 2
