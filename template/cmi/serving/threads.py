"""Threads for methods that block. Each runs one method at a time, and is reused for the next."""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

_Job: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]


class NoThread(Exception):
    """The system does not let this process start another thread."""


class Threads:
    """Starts work in a thread at once, or not at all.

    When `ThreadPoolExecutor` finds that no thread can be started, it has already queued the work.
    So it runs work later that it has refused.

    Args:
        name: The name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: deque[_Thread] = deque()
        self._is_closed = False

    def start(self, work: Callable[[], Any], deliver: Callable[[Any], object]) -> None:
        """Call `work` in a thread, and `deliver` with its result. Neither may raise.

        Raises:
            NoThread: No thread is idle, and none can be started. Nothing has been called.
        """
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = _Thread(self._name, self._keep)
            try:
                thread.start()
            except RuntimeError as error:
                raise NoThread from error
        thread.inbox.put((work, deliver))

    def close(self) -> None:
        """Let all threads end after their current work; don't wait for them."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().inbox.put(None)

    def _keep(self, thread: "_Thread") -> None:
        if self._is_closed:
            thread.inbox.put(None)
        else:
            self._idle.append(thread)


class _Thread(threading.Thread):
    def __init__(self, name: str, keep: "Callable[[_Thread], None]") -> None:
        super().__init__(name=name, daemon=True)
        self.inbox: SimpleQueue[_Job | None] = SimpleQueue()
        self._keep = keep

    def run(self) -> None:
        while (job := self.inbox.get()) is not None:
            work, deliver = job
            outcome = work()
            self._keep(self)  # before `deliver`, so that the next work finds this thread idle
            deliver(outcome)
            del job, work, deliver, outcome  # they would keep the last call alive until the next
