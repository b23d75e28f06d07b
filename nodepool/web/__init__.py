"""HTTP: the page for people, status lists, metrics and readiness.

It has a thread of its own, and a copy of its own of what ZooKeeper holds: a request never asks ZooKeeper, and never
touches what the decision thread knows. Nothing here changes anything.
"""
