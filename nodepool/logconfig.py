"""The place where logging configurations look for formatters, as those for Nodepool 11 do (spec cli 6).

It must never hold code: the formatters live in :mod:`nodepool.telemetry.logs`.
"""

from nodepool.telemetry.logs import JsonFormatter, MultiLineFormatter

__all__ = ["JsonFormatter", "MultiLineFormatter"]
