"""The OpenStack driver: makes servers on a cloud of ``clouds.yaml`` (spec drivers 2)."""
