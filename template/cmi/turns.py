"""Lets calls whose requests the cloud throttles take turns.

A cloud that allows two creations a second refuses most of fifty that arrive at once. If each call
then tried again after pauses of its own, most attempts would be in vain, and the cloud would idle
while the last calls pause. So the calls of a group (see `cmi.groups`) queue, and send one request
per interval. The interval adapts to what the cloud allows: it grows with a request that the cloud
throttles, and shrinks with each that succeeds. Until the cloud throttles a request, nobody waits.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cmi.errors import Throttled
from cmi.groups import Request, joined, lock
from cmi.seam import Session
from cmi.waiting import is_passing, is_waiting_for, paced, sleep_until

T = TypeVar("T")

FIRST_INTERVAL: Final = 0.25
"""Seconds between two requests once the cloud has throttled one."""

LONGEST_INTERVAL: Final = 2.0

SHORTEST_INTERVAL: Final = 0.02
"""Below this, the requests need no interval."""

GROWTH: Final = 1.5
SHRINKAGE: Final = 0.9
"""Factors of the interval. With these, the cloud throttles about every fifth request, so the
group notices soon if the cloud allows more."""


class Turns:
    """Sends the requests of one call, in turn with other calls if the cloud throttles them.

    Args:
        session: The call's session.
        request: The call's request.
    """

    def __init__(self, session: Session[Any, Any, Any, Any], request: Request) -> None:
        self._session = session
        self._request = request

    def take(
        self,
        action: str,
        what: str,
        act: Callable[[], T],
        *,
        find: Callable[[], T | None] = lambda: None,
    ) -> T:
        """Repeat `act` while the cloud throttles it; return its result.

        Any other error ends the call, even a temporary one, because `act` may have had an effect.

        Args:
            action: Calls with the same action take turns, because clouds limit each action.
            what: The awaited event, for messages: see `cmi.wait_for`.
            act: One call of a session's method.
            find: Called before each repetition. If it finds something, that is the result: an SDK
                that repeats requests itself may have been throttled after it got one through.

        Raises:
            DeadlineExceeded: The call was cancelled or took too long.
            Exception: Any other exception of `act` or `find`.
        """
        with joined(self._session, self._request, f"turns to {action}", _Queue) as queue:

            def attempt(pause: float) -> T:
                began = queue.await_turn(what)
                if pause and (found := find()):
                    return found
                try:
                    result = act()
                except Exception as error:
                    if is_passing(error, Throttled):
                        queue.slow_down(began)
                    raise
                queue.speed_up()
                return result

            return paced(what, attempt)


class _Queue:
    """Calls that take turns.

    Attributes:
        members: The number of calls, including those whose request is under way.
        interval: Seconds between two requests; 0 until the cloud throttles one.
    """

    def __init__(self) -> None:
        self.members = 0
        self.interval = 0.0
        self._waiting: deque[threading.Event] = deque()
        self._next = float("-inf")  # the earliest time of the next request
        self._grown = float("-inf")  # when the interval last grew

    def await_turn(self, what: str) -> float:
        """Wait until it is this call's turn, and return the time; `what` is for messages."""
        turn = threading.Event()
        with lock:
            self._waiting.append(turn)
        try:
            while True:
                with lock:
                    turn.clear()
                    now = time.monotonic()
                    is_next = self._waiting[0] is turn
                    if is_next and now >= self._next:
                        # Apart at random, as several drivers may share what the cloud allows.
                        spread = random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
                        self._next = now + self.interval * spread
                        return now
                    seconds = self._next - now if is_next else None
                is_waiting_for(what)
                sleep_until(turn, seconds)
        finally:
            with lock:
                self._waiting.remove(turn)
                if self._waiting:
                    self._waiting[0].set()

    def slow_down(self, began: float) -> None:
        """Lengthen the interval, since the cloud throttled a request.

        Requests that began before the interval last grew say nothing about the present interval:
        many may have been under way.
        """
        with lock:
            now = time.monotonic()
            if began >= self._grown:
                self.interval = min(max(FIRST_INTERVAL, GROWTH * self.interval), LONGEST_INTERVAL)
                self._grown = now
            self._next = max(self._next, now + self.interval)

    def speed_up(self) -> None:
        """Shorten the interval, since the cloud accepted a request."""
        with lock:
            self.interval *= SHRINKAGE
            if self.interval < SHORTEST_INTERVAL:
                self.interval = 0
