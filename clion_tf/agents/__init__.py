"""Who learns: what the loop sees of an agent, CLION's (with all off Dreamer's), and DrQ's."""
