"""The fake driver: a cloud in memory, for development and simulation only."""
