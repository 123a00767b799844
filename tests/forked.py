"""Processes that begin where their imports end, which take seconds.

They are forked from one that has imported TensorFlow and done nothing with it.
"""

import functools
import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import subprocess
import sys
import tempfile

import pytest
from places import PATHS, ROOT


@functools.cache
def server():
    """The context that makes these processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked_imports"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.path.dirname(__file__))  # It does not take over `sys.path`.
        multiprocessing.forkserver.ensure_running()
    return context


class Process:
    """`main(words)` of a module, in a session of its own; the names are `subprocess.Popen`'s.

    `stderr` is to read lines from. With `eagerly` there are no graphs, which take long to build;
    without `optimised` graphs round as those of small_agents.py.
    """

    def __init__(self, module, words, eagerly=False, optimised=True, **environ):
        environ = {**os.environ, "PYTHONPATH": PATHS, **environ}
        self._folder = tempfile.TemporaryDirectory()
        self._stdout, pipe = (os.path.join(self._folder.name, name) for name in ("out", "err"))
        os.mkfifo(pipe)
        given = (module, list(map(str, words)), eagerly, optimised, environ, self._stdout, pipe)
        self._process = server().Process(target=_main, args=given, daemon=True)
        self._process.start()
        self.pid, self.stderr = self._process.pid, open(pipe)

    @property
    def returncode(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """What it wrote to stdout, and the rest of stderr."""
        errors = self.stderr.read()
        self.wait(timeout)
        with open(self._stdout) as file:
            return file.read(), errors


def _main(module, words, eagerly, optimised, environ, stdout, pipe):
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environ)
    for number, path, mode in ((0, os.devnull, "r"), (1, stdout, "w"), (2, pipe, "w")):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    import tensorflow as tf

    tf.config.run_functions_eagerly(eagerly)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not optimised})
    code = importlib.import_module(module).main(words)
    sys.stdout.flush()
    sys.exit(code)
