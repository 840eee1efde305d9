"""Whose stream sends the next piece: in order of asking, one in each round of the event loop.

Without it every stream would send a piece in every round: with a hundred of them a handshake, which takes several rounds,
would wait for hundreds of pieces.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Lets one waiter through in each round of the event loop. For one loop only."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open_soon = False

    async def turn(self, *, is_urgent: bool) -> None:
        """Wait for the turn; urgent ones have it in the next round, whoever waits."""
        if is_urgent:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._is_open_soon:
            self._is_open_soon = True
            loop.call_soon(self._open, loop)
        await mine

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                break
        self._is_open_soon = bool(self._waiting)
        if self._is_open_soon:
            loop.call_soon(self._open, loop)
