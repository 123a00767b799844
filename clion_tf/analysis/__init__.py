"""What people look at: evaluations, curves, tables, figures, reports, videos, exports, studies."""
