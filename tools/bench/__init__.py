"""Benchmarks of the launcher on real ZooKeeper: ``python -m tools.bench --help``. Never part of the tests."""
