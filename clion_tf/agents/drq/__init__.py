"""DrQ (arXiv 2004.13649), the paper's model-free baseline; docs/drq.md has its constants."""
