import json

import pytest

from clion_tf.envs import UnknownTaskError
from clion_tf.envs.dmc import find_task


@pytest.fixture(scope="module")
def table(run_python):
    """dm_control's own table, read where importing it loads no OpenGL into pytest."""
    code = "import json; from dm_control import suite; print(json.dumps(suite.ALL_TASKS))"
    return [tuple(pair) for pair in json.loads(run_python("-c", code, MUJOCO_GL="off").stdout)]


def test_every_task_is_found_under_its_own_name(table):
    assert len(table) == 51
    for domain, task in table:
        assert find_task(f"{domain}_{task}", table) == (domain, task)
        assert find_task(f"dmc_{domain}_{task}", table) == (domain, task)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("cup_catch", ("ball_in_cup", "catch")),
        ("point_mass_easy", ("point_mass", "easy")),
        ("humanoid_CMU_run", ("humanoid_CMU", "run")),
        ("humanoid_run_pure_state", ("humanoid", "run_pure_state")),
        ("lqr_lqr_2_1", ("lqr", "lqr_2_1")),
        ("cartpole_swingup_sparse", ("cartpole", "swingup_sparse")),
    ],
)
def test_underscores_in_domain_or_task(table, name, expected):
    assert find_task(name, table) == expected


def test_misspelling_names_the_nearest(table):
    with pytest.raises(UnknownTaskError) as caught:
        find_task("dmc_walker_wlak", table)
    message = str(caught.value)
    assert "walker_walk" in message and "dmc_walker_wlak" in message and "\n" not in message


def test_nothing_near(table):
    with pytest.raises(UnknownTaskError, match=r"^no task 'qqq' in dm_control's suite$"):
        find_task("qqq", table)
