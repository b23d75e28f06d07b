"""``nodepool-launcher`` with little time between two searches for leaks, so that a test need not wait minutes for two."""

from __future__ import annotations

from nodepool.cmd.launcher import main
from nodepool.launcher import session

LEAKS_EVERY = 3.0
"""Seconds; 60 in the program itself."""

if __name__ == "__main__":
    session.LEAKS_EVERY = LEAKS_EVERY
    main()
