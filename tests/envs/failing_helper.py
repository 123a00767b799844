"""What an environment of `failing_envs` calls."""

import json

import numpy as np


def divide():
    return 1 // 0  # here: helper


def in_library():
    return json.loads("{")  # here: library


def in_numpy():
    return np.linalg.inv(np.zeros((2, 2)))  # here: numpy
