"""Many runs on many machines, each a process of its own, by Ray. Imports no TensorFlow."""
