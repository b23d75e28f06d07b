"""What the programs tell about themselves: logging, metrics and stack dumps."""
