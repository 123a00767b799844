import os
import pathlib
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def eagerly():
    """As `small_agents.without_graphs`, for a whole test."""
    from small_agents import without_graphs

    with without_graphs():
        yield
