"""What passes between the original Dreamer (github.com/danijar/dreamer) and this project."""
