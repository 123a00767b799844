"""What clion_tf needs; `constraints.txt` beside this file has the exact versions tested."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "clion_tf" / "__init__.py").read_text())[1]
# Of each script a command, clion-evaluate of tools/evaluate.py.
TOOLS = sorted(path.stem for path in (HERE / "tools").glob("[!_]*.py"))
COMMANDS = {f"clion-{name.replace('_', '-')}": f"clion_tf.tools.{name}:main" for name in TOOLS}
TENSORFLOW = ">=2.21,<2.22"
# Ray's core; rich is Keras's too.
SWEEP = ["ray>=2.50,<3", "rich>=13,<16"]

setup(
    name="clion_tf",
    version=VERSION,
    description="Constrained Latent Imagination in TensorFlow 2: the paper's method over Dreamer",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # No licence is named: that is for the owner to choose.
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=[
        *find_packages(include=["clion_tf", "clion_tf.*"]),
        "clion_tf.tools",
        "clion_tf.flags",
    ],
    # Scripts and presets stay beside the package; an installed copy has them inside.
    package_dir={"clion_tf.tools": "tools", "clion_tf.flags": "flags"},
    package_data={
        "clion_tf.flags": ["*.flags"],
        "clion_tf.analysis": ["policy_readme.md.jinja"],
        "clion_tf.analysis.report": ["template.html", "style.css"],
    },
    entry_points={
        "console_scripts": [
            "clion-train = clion_tf.run:main",
            *(f"{name} = {place}" for name, place in COMMANDS.items()),
        ]
    },
    # Keras 3.15 needs 3.11; labmaze, which dm_control requires, has no wheels for 3.13.
    python_requires=">=3.11,<3.13",
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        # Our optimiser overrides its internals: a minor version may change them.
        "keras>=3.15,<3.16",
        # Its last release, which needs a Keras 2 beside Keras 3, of TensorFlow's version.
        "tensorflow-probability>=0.25,<0.26",
        f"tf_keras{TENSORFLOW}",
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
        "imageio>=2.36,<3",
        "imageio-ffmpeg>=0.5,<1",
        "tqdm>=4.64,<5",
        "matplotlib>=3.10,<4",
        "jinja2>=3.1,<4",
        "markupsafe>=2.1,<4",
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
            # Drives Debian's chromium, to look at reports.
            "selenium>=4.20,<5",
            # A test builds the wheel with it.
            "setuptools>=77",
            "ruff>=0.15",
            "mypy>=2.4,<3",
        ],
        # For `make mutation` only.
        "mutation": ["cosmic-ray>=8.7,<9"],
    },
)
