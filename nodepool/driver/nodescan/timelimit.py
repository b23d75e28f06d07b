"""How long one step of an attempt may take. Times are those of the running event loop's clock, in seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nodepool.driver.nodescan.request import ScanError, ScanFailure


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The limit of each step (``attempt_timeout``) and the end of the whole scan (``deadline``)."""

    attempt_timeout: float
    deadline: float

    @asynccontextmanager
    async def step(self, failure: ScanFailure, doing: str, share: float = 1.0) -> AsyncIterator[None]:
        """Run the block for at most ``share`` of a step's time; raise ScanError(``failure``) when it is over."""
        now = asyncio.get_running_loop().time()
        left = max(0.0, self.deadline - now)
        seconds = min(self.attempt_timeout, left) * share
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            detail = f"{doing}: no answer in {seconds:.1f} s"
            raise ScanError(failure, detail, cut_short=left < self.attempt_timeout) from None
