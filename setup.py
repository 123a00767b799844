"""What clion_tf needs; `constraints.txt` beside this file has the exact versions tested."""

from setuptools import find_packages, setup

TENSORFLOW = ">=2.21,<2.22"
# Ray's core; rich is Keras's too.
SWEEP = ["ray>=2.50,<3", "rich>=13,<16"]

setup(
    name="clion_tf",
    version="0.1.0",
    description="Constrained Latent Imagination in TensorFlow 2: the paper's method over Dreamer",
    packages=find_packages(include=["clion_tf", "clion_tf.*"]),
    package_data={"clion_tf.webpage": ["template.html", "style.css"]},
    # Keras 3.15 needs 3.11; labmaze, which dm_control requires, has no wheels for 3.13.
    python_requires=">=3.11,<3.13",
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        # Our optimiser overrides its internals: a minor version may change them.
        "keras>=3.15,<3.16",
        # Not a dependency of TensorFlow any more.
        "tensorboard>=2.20,<2.22",
        # mujoco 4 breaks dm_control at load, and dm_control itself sets no upper bound.
        "dm_control>=1.0.50,<1.1",
        "mujoco>=3.17,<4",
        "gymnasium>=1.0,<2",
        # Gymnasium draws its classic control and its grids with it.
        "pygame-ce>=2.5,<3",
        "numpy>=2.0,<3",
        "scipy>=1.14,<2",
        "absl-py>=2.0,<3",
        "pillow>=11,<14",
        "imageio-ffmpeg>=0.5,<1",
        "tqdm>=4.64,<5",
        "matplotlib>=3.10,<4",
        "jinja2>=3.1,<4",
        "markupsafe>=2.1,<4",
        # TensorBoard's, for reading its events.
        "protobuf>=5,<8",
    ],
    extras_require={
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "sweep": SWEEP,
        "atari": ["ale-py>=0.12,<1"],
        # Gymnasium's own Box2D and MuJoCo tasks.
        "gym": ["gymnasium[box2d,mujoco]>=1.0,<2"],
        "test": [
            "ale-py>=0.12,<1",
            *SWEEP,
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "imageio>=2.36",
            # Drives Debian's chromium, to look at reports.
            "selenium>=4.20,<5",
            "ruff>=0.15",
        ],
    },
)
