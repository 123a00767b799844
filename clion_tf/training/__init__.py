"""Algorithm 1: a run is built; until `--steps` it is evaluated, learns, plays, and is saved."""
