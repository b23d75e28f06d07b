"""What the programs tell about themselves: logging and stack dumps."""
