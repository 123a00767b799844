"""Algorithm 1: a run is built, then for ever plays, learns, is evaluated, and saved."""
