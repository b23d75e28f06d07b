"""Running diskimage-builder: one build is one process group, one directory for work, and one log."""
