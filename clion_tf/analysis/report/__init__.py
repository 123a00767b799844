"""One self-contained HTML page about runs: curves, tables, videos, what the networks do."""
