"""A run on several devices and processes, by tf.distribute."""
