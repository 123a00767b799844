"""The folder of a run: who may use it, its options, checkpoints, metrics and versions."""
