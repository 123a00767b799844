"""Agents trained on the recorded episodes of a run, to compare settings without an environment."""
