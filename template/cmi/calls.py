"""Running a driver's methods: threads, limits, deadlines, one call at a time per machine."""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

from cmi import waiting
from cmi.errors import Aborted, DeadlineExceeded, ResourceExhausted

log = logging.getLogger(__name__)

_Outcome: TypeAlias = tuple[Any, BaseException | None]
"""What a method returned, or raised. Not raised through a future: there a StopIteration gets
lost, and a SystemExit ends the event loop."""


class Calls:
    """Runs the machine calls of one server.

    A call counts until its method has really ended. A thread can't be stopped, so a call
    that was given up (deadline, cancelled) goes on holding its place and its machine, and
    a retry is turned away instead of running beside it (C14, C57).

    Args:
        max_calls: How many calls may be in flight at once.
        call_timeout: How long one may take, in seconds.
    """

    def __init__(self, *, max_calls: int, call_timeout: float) -> None:
        self._max_calls = max_calls
        self._call_timeout = call_timeout
        # Of our own, since asyncio's default pool is sized by the cores and would queue.
        self._threads = ThreadPoolExecutor(max_calls, thread_name_prefix="machine-call")
        self._machines: set[Hashable] = set()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """How many methods are running, those of callers that are gone included."""
        return self._in_flight

    async def run(self, method: Callable[[], Any], machine: Hashable | None = None) -> Any:
        """Call `method` and return what it returns.

        Args:
            method: A `def` or an `async def`, with its arguments bound by `partial`.
            machine: What tells the call's machine from others; None if it concerns none.

        Raises:
            ResourceExhausted: `max_calls` are in flight.
            Aborted: Another call for the same machine is in flight.
            DeadlineExceeded: The method did not end within `call_timeout`.
            Exception: Whatever the method raises.
        """
        if self._in_flight >= self._max_calls:
            raise ResourceExhausted(
                f"{self._max_calls} calls are in flight, the limit; try later, or raise --max-calls"
            )
        if machine is not None and machine in self._machines:
            raise Aborted
        ended = self._enter(machine)
        given_up = threading.Event()
        future = self._start(method, ended, given_up)
        try:
            done, _ = await asyncio.wait({future}, timeout=self._call_timeout)
        except asyncio.CancelledError:
            given_up.set()
            future.cancel()
            raise
        if not done:
            given_up.set()
            future.cancel()
            raise DeadlineExceeded(
                f"the call did not end within {self._call_timeout:g} s; it is safe to repeat"
            )
        if future.cancelled():
            raise RuntimeError("the method cancelled itself")
        result, error = future.result()
        if error is None:
            return result
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"the method raised {type(error).__name__}") from error

    async def drain(self, seconds: float) -> bool:
        """Wait for the methods that run; return False if some still do after `seconds`."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take no further call; don't wait for threads that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enter(self, machine: Hashable | None) -> Callable[[], None]:
        self._in_flight += 1
        self._idle.clear()
        if machine is not None:
            self._machines.add(machine)

        def leave() -> None:
            self._in_flight -= 1
            self._machines.discard(machine)
            if not self._in_flight:
                self._idle.set()

        return leave

    def _start(
        self, method: Callable[[], Any], ended: Callable[[], None], given_up: threading.Event
    ) -> asyncio.Future[_Outcome]:
        if inspect.iscoroutinefunction(method):
            task = asyncio.ensure_future(_outcome_of_async(method, given_up))
            task.add_done_callback(lambda _task: ended())
            return task
        context = contextvars.copy_context()
        thread = self._threads.submit(context.run, _outcome, method, given_up)
        loop = asyncio.get_running_loop()
        # Added before asyncio's own callback: the machine is free before its caller hears of it.
        thread.add_done_callback(partial(_finish_thread, loop, ended))
        return asyncio.wrap_future(thread)


def _outcome(method: Callable[[], Any], given_up: threading.Event) -> _Outcome:
    waiting.given_up.set(given_up)
    try:
        return method(), None
    except BaseException as error:  # noqa: BLE001 - `Calls.run` raises what can be raised there
        return None, _noted(error, given_up)


async def _outcome_of_async(method: Callable[[], Any], given_up: threading.Event) -> _Outcome:
    try:
        return await method(), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - see above
        return None, _noted(error, given_up)


def _noted(error: BaseException, given_up: threading.Event) -> BaseException:
    """Log an error that nobody waits for any more; return it."""
    if given_up.is_set() and not isinstance(error, DeadlineExceeded):
        log.warning("a call failed after it was given up", exc_info=error)
    return error


def _finish_thread(
    loop: asyncio.AbstractEventLoop, ended: Callable[[], None], _thread: Future[Any]
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(ended)
