"""DrQ (arXiv 2004.13649), the paper's model-free baseline: soft actor-critic on shifted pixels.

[N, S, S, 9] is a stack of three frames, oldest first; data is [B, 4, ...], two stacks of one
transition. docs/drq.md has the source of every constant.
"""
