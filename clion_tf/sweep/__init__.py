"""Many runs on many machines: a plan of tasks x methods x seeds, made by Ray.

Nothing here imports TensorFlow: each run is a process of its own, `python -m clion_tf.run`.
"""
