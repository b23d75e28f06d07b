"""Requests become nodes, and used nodes go: a pure core, driven by events, with its effects at the edge."""
