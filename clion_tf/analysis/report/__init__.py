"""One self-contained HTML page about runs: curves, tables, videos, what the networks do.

found      which runs and curve files there are
events     the newest pictures of a run's TensorBoard events, without TensorFlow
media      videos and pictures, checked and as data URIs
recorded   the newest diagnostics of a run
drawing    small figures; training, weighting: which ones
section    all that the page says of one run
page       the page
"""
