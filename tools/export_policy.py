"""Writes a run's evaluation policy as a TensorFlow SavedModel that runs without this package.

    clion-export-policy --logdir=logdir/walker --out=walker_policy

To use it, with TensorFlow and NumPy only:

{code}
`act` works on any number B of environments: images uint8 [B, 64, 64, 3], a vector float32 [B, n] or
both, and the state to the next state, whose `action` [B, A] is the agent's: with these seeds that
of `clion_tf.load(logdir).act` on a CPU, bit for bit. `to_environment` makes of it what the task
itself takes, of its bounds, or an index. The export's README.md says the same with its own numbers,
and how each observation is made of the environment's. All agents can be exported, DrQ too.

An earlier export in --out is replaced; any other folder that is not empty is refused. Exit code 0;
1 if it cannot be written, 2 if there is nothing to export or an option is wrong.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence

from clion_tf import command
from clion_tf.analysis import saved_model, tool_checks, trained_agent
from clion_tf.files import user_path


@command.tool("export_policy")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(arguments)
    out = user_path(options.out)
    saved_model.check_folder(out)
    saved = trained_agent.read(options.logdir, options.checkpoint)
    command.load_tensorflow()
    trained = trained_agent.build(saved, "cpu", options.action)
    command.progress(f"exporting {trained.path}")
    target = out.resolve()  # Before it is replaced: it may be the folder that we are in.
    saved_model.save(trained, out)
    size = sum(path.stat().st_size for path in target.rglob("*")) / 1e6
    print(f"{out}: {trained.config.eval_action} policy of {trained.path}, {size:.1f} MB")
    return command.OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = command.parser(
        "export_policy", __doc__.format(code=textwrap.indent(saved_model.code(["image"]), "    "))
    )
    tool_checks.add_arguments(parser, "logdir", "checkpoint", "action")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
