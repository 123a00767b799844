"""Who learns: CLION's agent (with all off Dreamer's), or DrQ's."""

from clion_tf.agents.clion import Agent
from clion_tf.agents.drq.drq_agent import DrQ

KINDS = {"clion": Agent, "drq": DrQ}  # By `--agent`.
