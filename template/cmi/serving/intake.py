"""Limits the total size of the requests in flight, to bound memory."""

from collections import deque
from typing import Final

from cmi.errors import InvalidArgument, Unavailable

_LEAST: Final = 16 * 1024
"""The memory that a call needs besides its request, in bytes. It bounds the number of calls too."""


class Intake:
    """Counts the bytes of the requests in flight.

    A request counts until nothing of its call is alive, which includes the search of the log for
    its secrets. Any thread may give its bytes back.

    Args:
        max_request_bytes: The maximum size of a request.
        max_bytes_in_flight: The maximum size of all of them together.
    """

    def __init__(self, max_request_bytes: int, max_bytes_in_flight: int) -> None:
        self._max_request = max_request_bytes
        self._max = max_bytes_in_flight
        self._taken = 0
        self._returned: deque[int] = deque()  # finalisers may append, which must not need a lock

    @property
    def bytes_in_flight(self) -> int:
        """The size of the requests in flight."""
        return self._taken - sum([*self._returned])

    def take(self, size: int) -> int:
        """Count a request; return the number of bytes to give back. Call it on the event loop.

        Raises:
            InvalidArgument: The request is too large.
            Unavailable: All requests together would be too large.
        """
        if size > self._max_request:
            raise InvalidArgument(
                f"the request has {size} bytes, more than the {self._max_request} of "
                "--max-request-bytes; shorten the provider spec or the user data"
            )
        while self._returned:
            self._taken -= self._returned.popleft()
        counted = max(size, _LEAST)
        if self._taken + counted <= self._max or not self._taken:
            self._taken += counted
            return counted
        raise Unavailable(
            f"requests of {self._taken} bytes are in flight, and --max-bytes-in-flight is "
            f"{self._max}; try again"
        )

    def give_back(self, counted: int) -> None:
        """Stop counting a request. Any thread may call it."""
        self._returned.append(counted)
