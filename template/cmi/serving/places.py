"""Limits how many calls run at once, in first-come, first-served order."""

import asyncio
import contextlib
import contextvars
from collections import deque


class Places:
    """A fair semaphore.

    Args:
        limit: The number of places, one for each running call.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """The number of calls that wait for a place."""
        return len(self._queue)

    def take_at_once(self) -> bool:
        """Take a place if one is free and no call waits for it; return whether that succeeded."""
        if self._free and not self._queue:
            self._free -= 1
            return True
        return False

    async def take(self, seconds: float) -> bool:
        """Wait for a place; return False if none became free in time."""
        if self._is_closed:
            return False
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self._queue.append(place)
        # In an empty context, because the current one keeps the request alive.
        timer = loop.call_later(seconds, _turn_away, place, context=contextvars.Context())
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.give_back()
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                self._queue.remove(place)

    def give_back(self) -> None:
        """Give a place to the call that has waited longest, or keep it."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(True)
                return
        self._free += 1

    def close(self) -> None:
        """Turn away all waiting calls."""
        self._is_closed = True
        for place in self._queue:
            _turn_away(place)


def _turn_away(place: "asyncio.Future[bool]") -> None:
    if not place.done():
        place.set_result(False)
