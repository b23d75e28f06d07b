"""``nodepool-launcher`` in a hurry: what happens once a minute happens every few seconds, and no test waits for it."""

from __future__ import annotations

import sys

from nodepool.cmd.launcher import main
from nodepool.driver.openstack import leftovers, volumes
from nodepool.launcher import deletions, session

LEAKS_EVERY = 3.0
"""Seconds between two searches for leaks, and between two sightings of one; 60 in the program itself."""
REPEAT_AFTER = 5.0
"""Seconds until a deletion that the cloud has lost is asked for again; 30 in the program itself."""

if __name__ == "__main__":
    session.LEAKS_EVERY = leftovers.SIGHTING_AGE = volumes.SIGHTING_AGE = LEAKS_EVERY
    deletions.REPEAT_AFTER = REPEAT_AFTER
    sys.exit(main())
