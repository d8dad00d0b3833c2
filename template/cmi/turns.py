"""Lets calls whose requests the cloud throttles take turns.

A cloud that allows two creations a second refuses most of fifty that arrive at once. If each call
then tried again after pauses of its own, most attempts would be in vain, and the cloud would idle
while the last calls pause. So the calls of a group (see `cmi.groups`) queue, and send one request
per interval. The interval adapts to what the cloud allows: it grows with a request that the cloud
throttles, and shrinks with each other one. Until the cloud throttles a request, nobody waits.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cmi.errors import DeadlineExceeded, Throttled
from cmi.groups import Request, joined, lock
from cmi.seam import Session
from cmi.waiting import (
    current_trouble,
    has_answered,
    has_trouble,
    is_passing,
    is_waiting_for,
    sleep_until,
    stop_if_given_up,
)

T = TypeVar("T")

FIRST_INTERVAL: Final = 0.25
"""Seconds between two requests once the cloud has throttled one."""

LONGEST_INTERVAL: Final = 2.0

SHORTEST_INTERVAL: Final = 0.02
"""Below this, the requests need no interval."""

QUIET: Final = 10.0
"""Seconds without a request after which the interval says nothing any more."""

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
            result = queue.result(what, act, find)
        has_answered()
        is_waiting_for("")
        return result


class _Queue:
    """Calls that take turns.

    Attributes:
        members: The number of calls, including those whose request is under way.
        interval: Seconds between two requests; 0 until the cloud throttles one.
        trouble: The cloud's message when it last throttled a request.
    """

    def __init__(self) -> None:
        self.members = 0
        self.interval = 0.0
        self.trouble = ""
        self._waiting: deque[threading.Event] = deque()
        self._earliest = float("-inf")  # the earliest time of the next request
        self._last_growth = float("-inf")

    def result(self, what: str, act: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Return the result of `Turns.take`."""
        self.await_turn(what)
        while True:
            try:
                return self.send(act)
            except Exception as error:
                if not is_passing(error, Throttled):
                    raise
            self.await_turn(what)
            if found := find():
                return found
            stop_if_given_up()

    def send(self, act: Callable[[], T]) -> T:
        """Send a request, and adapt the interval to how it ends."""
        began = time.monotonic()
        try:
            result = act()
        except Exception as error:
            if is_passing(error, Throttled):
                self.slow_down(began)
            elif not is_passing(error):  # otherwise, the cloud may not have received the request
                self.speed_up(began)
            raise
        self.speed_up(began)
        return result

    def await_turn(self, what: str) -> None:
        """Wait until it is this call's turn; `what` is for messages.

        Raises:
            DeadlineExceeded: The call was cancelled or took too long.
        """
        turn = threading.Event()
        with lock:
            self._waiting.append(turn)
            if self._has_come(turn):
                return
        is_waiting_for(what)
        try:
            while True:
                has_trouble(self.trouble)
                sleep_until(turn, self._seconds_left(turn))
                with lock:
                    if self._has_come(turn):
                        return
        except DeadlineExceeded:
            with lock:
                self._leave(turn)
            raise

    def _has_come(self, turn: threading.Event) -> bool:
        """Return whether a call has its turn now. If so, it leaves the queue."""
        turn.clear()
        now = time.monotonic()
        if turn is not self._waiting[0] or now < self._earliest:
            return False
        if now > self._earliest + QUIET:
            self.interval = 0
        spread = random.uniform(0.75, 1.25)  # noqa: S311 - other drivers may share the limit
        self._earliest = now + self.interval * spread
        self._leave(turn)
        return True

    def _seconds_left(self, turn: threading.Event) -> float | None:
        """Return how long it takes until a call's turn; None if it depends on the call before."""
        return self._earliest - time.monotonic() if turn is self._waiting[0] else None

    def _leave(self, turn: threading.Event) -> None:
        """Leave the queue, and wake the call that is first now."""
        was_first = turn is self._waiting[0]
        self._waiting.remove(turn)
        if was_first and self._waiting:
            self._waiting[0].set()

    def slow_down(self, began: float) -> None:
        """Lengthen the interval, because the cloud throttled a request.

        Requests that began before the interval last grew say nothing about the present interval:
        many may have been under way.

        Args:
            began: When the request began.
        """
        with lock:
            self.trouble = current_trouble()
            if began >= self._last_growth:
                self.interval = min(max(FIRST_INTERVAL, GROWTH * self.interval), LONGEST_INTERVAL)
                self._last_growth = time.monotonic()
                self._earliest = max(self._earliest, self._last_growth + self.interval)

    def speed_up(self, began: float) -> None:
        """Shorten the interval, because the cloud did not throttle a request; see `slow_down`."""
        with lock:
            if began >= self._last_growth:
                self.interval *= SHRINKAGE
                if self.interval < SHORTEST_INTERVAL:
                    self.interval = 0
