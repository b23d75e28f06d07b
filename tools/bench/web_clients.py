"""``python -m tools.bench.web_clients ADDRESS SECONDS``: many clients poll all lists; prints what they saw, as JSON.

Each client asks for each list, in text and in JSON, one after the other, one a second; they begin spread over a second.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

import aiohttp

from nodepool.web.lists import OF_THE_LAUNCHER

CLIENTS = 50
FORMS = ("text/plain", "application/json")


async def poll(address: str, seconds: float, seen: dict[str, list[float]]) -> None:
    """Put into ``seen``, by list, how many milliseconds each answer took."""
    deadline = time.monotonic() + seconds
    kinds = list(itertools.product(OF_THE_LAUNCHER, FORMS))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def client(number: int) -> None:
            await asyncio.sleep(number / CLIENTS)
            for name, form in itertools.islice(itertools.cycle(kinds), number, None):
                began = time.monotonic()
                if began > deadline:
                    return
                async with session.get(f"{address}/{name}", headers={"Accept": form}) as answer:
                    answer.raise_for_status()
                    await answer.read()
                took = time.monotonic() - began
                seen.setdefault(name, []).append(took * 1000)
                await asyncio.sleep(max(1.0 - took, 0.0))

        await asyncio.gather(*(client(number) for number in range(CLIENTS)))


def main() -> None:
    """See the module's description."""
    seen: dict[str, list[float]] = {}
    asyncio.run(poll(sys.argv[1], float(sys.argv[2]), seen))
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
