"""What forked.py's processes have loaded when they begin, as commands load it."""

from clion_tf.console import quiet_import

with quiet_import():
    from clion_tf.distributed import processes
    from clion_tf.training import loop

__all__ = ["loop", "processes"]
