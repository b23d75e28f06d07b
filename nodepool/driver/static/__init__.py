"""The static driver: existing hosts, registered as ready nodes and given out again and again."""
