"""Command lines, each a script; installed as `clion_tf.tools`, each a command (see setup.py)."""
