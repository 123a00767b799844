"""How wrong imagined returns can be (section 3.3, appendix A.1), and what a run tells of it."""
