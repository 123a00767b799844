"""Curves and scores: of our runs, of the original Dreamer's and of published files."""
