"""Episodes: played, kept on disk, drawn from in sequences. Nothing here imports TensorFlow."""
