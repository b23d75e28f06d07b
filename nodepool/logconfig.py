"""The place where logging configurations written for Nodepool 11 look for its formatter (spec cli 6).

It must never hold code: the formatter lives in :mod:`nodepool.telemetry.logs`.
"""

from nodepool.telemetry.logs import MultiLineFormatter

__all__ = ["MultiLineFormatter"]
