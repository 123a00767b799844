"""What an agent does and what its world model sees, as pictures and videos."""
