"""nodescan: is a host reachable, and which SSH host keys does it have?

The launcher asks before it hands over a new node, the static driver before it registers a host (spec launcher 3.3 and
3.5). Hundreds of hosts are scanned at once by one thread (`nodepool.driver.nodescan.scanner.Scanner`, imported from
there, so that pure modules can name requests and results without loading an SSH library). Nobody logs in: a
successful scan proves a reachable server that owns the recorded keys, not working credentials.
"""

from nodepool.driver.nodescan.request import ScanFailure, ScanRequest, ScanResult

__all__ = ["ScanFailure", "ScanRequest", "ScanResult"]
