"""Pictures and videos: what is drawn in them, and how they become files."""
