"""What `tools/benchmark.py` and `tools/compare_dreamer.py speed` measure; not part of training."""
