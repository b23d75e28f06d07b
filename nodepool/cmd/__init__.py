"""The programs: they read their options and wire the rooms together."""
