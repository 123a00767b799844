import os
import pathlib
import signal
import sys

import pytest

from clion_tf.console import quiet_import

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests run side by side, and their tensors are small: TensorFlow's threads would wait by spinning.
for kind in ("INTRAOP", "INTEROP"):
    os.environ.setdefault(f"TF_NUM_{kind}_THREADS", "1")
# XLA compiles what the tests ask of it in two fifths of the time. Its code is slower.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
sys.path.insert(0, str(pathlib.Path(__file__).parent))
# Workers, in which environments live, find those of the tests.
os.environ["PYTHONPATH"] = str(pathlib.Path(__file__).parent / "envs")

# A quarter of a minute and more each. They come first, so that two workers are busy to the end.
LONGEST = [
    "test_sweep_ray.py", "test_multiworker.py", "test_resume.py", "test_offline.py",
    "test_agent.py", "test_replicas.py", "test_end_to_end.py", "test_benchmark.py",
    "test_tutorial.py", "test_drq_update.py", "test_env_rendering.py", "test_export.py",
    "test_agent_calls.py", "test_install.py", "test_report_page.py", "test_env_worker.py",
    "test_cli.py", "test_conversion.py", "test_loop.py", "test_export_video.py", "test_drq_run.py",
    "test_graph_flops.py", "test_speed_versus_original.py", "test_vectors.py", "test_check_env.py",
    "test_parity.py", "test_horizon.py", "test_scan.py", "test_reconstruct.py",
]  # fmt: skip


def pytest_configure():
    """Ctrl-C as on a terminal: a shell's background jobs begin with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:  # Of all its tests some need TensorFlow.
        with quiet_import():
            pass


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture
def eagerly():
    """As `small_agents.without_graphs`, for a whole test."""
    from small_agents import without_graphs

    with without_graphs():
        yield
