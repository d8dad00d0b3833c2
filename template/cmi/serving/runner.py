"""Runs a driver's methods: threads, limits, deadlines, one call at a time per machine."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from cmi import waiting
from cmi.errors import Aborted, DeadlineExceeded, ErrorTable, Unavailable
from cmi.serving.places import Places
from cmi.serving.threads import NoThread, Threads

log = logging.getLogger(__name__)

_NEXT_TRY: Final = 0.1
"""Seconds between two attempts to start a thread."""

_Outcome: TypeAlias = tuple[Any, BaseException | None]
"""The result of a method, or its exception. A future can't carry every exception: it loses a
StopIteration, and a SystemExit ends the event loop."""


@dataclass(slots=True, eq=False)
class _Run:
    """One method from its start to its end, which may come after its caller has gone.

    Attributes:
        machine: The key of the machine that it locks.
        waiter: Gets the outcome, or None at the deadline.
        has_begun: Whether it has started, so that it will end by itself.
        is_given_up: Whether nobody waits for its outcome any more.
        name: The name of the method.
        thread_call: The state that it shares with its thread; None for an `async def`.
    """

    machine: Hashable | None
    waiter: asyncio.Future[_Outcome | None]
    has_begun: bool = False
    is_given_up: bool = False
    name: str = ""
    thread_call: waiting.ThreadCall | None = None

    @property
    def waiting_for(self) -> str:
        """The event that it waits for, as passed to `wait_for`; empty if unknown."""
        return self.thread_call.waiting_for if self.thread_call else ""

    @property
    def trouble(self) -> str:
        """The cloud's error message if it can't answer at the moment; empty if unknown."""
        return self.thread_call.trouble if self.thread_call else ""


class _Deadlines:
    """Wakes the callers whose time is up. It uses one timer, since one for each call is expensive.

    All calls get the same time, so the oldest is always due first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[_Run, float] = {}
        self._is_set = False

    def add(self, loop: asyncio.AbstractEventLoop, run: _Run) -> None:
        self._due[run] = loop.time() + self._seconds
        if not self._is_set:
            self._set(loop)

    def discard(self, run: _Run) -> None:
        self._due.pop(run, None)

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_set = True
        # In an empty context, because the current one would keep a request alive.
        due = next(iter(self._due.values()))
        loop.call_at(due, self._expire, loop, context=contextvars.Context())

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_set = False
        now = loop.time()
        for run in [run for run, due in self._due.items() if due <= now]:
            self.discard(run)
            _wake(run, None)
        if self._due:
            self._set(loop)


class Runner:
    """Runs the machine calls of one server.

    A call counts until its method has really ended. A thread can't be stopped. So an abandoned
    call (cancelled, or past its deadline) keeps its place and its machine, and a retry is turned
    away instead of running at the same time (C14, C57).

    A call beyond `max_calls` waits for its turn, and keeps its machine meanwhile. If it waits for
    too long, it fails with UNAVAILABLE: RESOURCE_EXHAUSTED would make MCM and the autoscaler
    believe that the cloud is full. A call that is turned away has never run.

    Args:
        max_calls: The maximum number of calls at once.
        call_timeout: The maximum duration of a call, in seconds.
        errors: The meaning of the SDK's exceptions.
    """

    def __init__(
        self, *, max_calls: int, call_timeout: float, errors: ErrorTable = MappingProxyType({})
    ) -> None:
        self._places = Places(max_calls)
        self._call_timeout = call_timeout
        self._errors = errors
        self._groups: dict[Hashable, Any] = {}
        self._deadlines = _Deadlines(call_timeout)
        self._threads = Threads("machine-call")
        self._starting = asyncio.Lock()
        self._machines: set[Hashable] = set()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """The number of running methods, including those whose callers are gone."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """The number of calls that wait for their turn."""
        return self._places.waiting

    async def run(
        self,
        method: Callable[..., Any],
        *arguments: Any,
        is_async: bool,
        machine: Hashable | None = None,
        time_remaining: Callable[[], float | None] = lambda: None,
    ) -> Any:
        """Call `method` and return its result.

        Args:
            method: A `def` or an `async def`.
            arguments: The method's arguments.
            is_async: Whether the method is an `async def`.
            machine: A key that identifies the call's machine; None if there is no machine.
            time_remaining: Returns the seconds until the caller's deadline, or None without one.

        Raises:
            Unavailable: The call did not get its turn, or no thread could be started, for as long
                as the caller could wait. Or the cloud was temporarily unavailable until
                `call_timeout` had passed.
            Aborted: Another call for the same machine is in flight.
            DeadlineExceeded: The method did not end within `call_timeout`.
            Exception: Whatever the method raises.
        """
        if machine is not None and machine in self._machines:
            raise Aborted
        loop = asyncio.get_running_loop()
        run = _Run(machine, loop.create_future(), name=getattr(method, "__name__", ""))
        self._machines.add(machine)
        try:
            give_up = await self._begin(
                loop, run, partial(method, *arguments), is_async, time_remaining
            )
        except BaseException:
            self._machines.discard(machine)
            raise
        outcome = None
        try:
            outcome = await run.waiter
        finally:
            self._deadlines.discard(run)
            if outcome is None:
                run.is_given_up = True
                give_up()
        return self._result(run, outcome)

    def _result(self, run: _Run, outcome: _Outcome | None) -> Any:
        if outcome is None:
            waits = f" while it waited for {run.waiting_for}" if run.waiting_for else ""
            late = f"the call did not end within {self._call_timeout:g} s{waits}"
            if trouble := run.trouble:
                raise Unavailable(f"{trouble} ({late})")
            raise DeadlineExceeded(f"{late}; it is safe to repeat")
        result, error = outcome
        try:
            if error is None:
                return result
            if isinstance(error, Exception):
                raise error
            raise RuntimeError(f"the method raised {type(error).__name__}") from error
        finally:
            del outcome, error  # the traceback refers to this frame, and would keep the request

    async def drain(self, seconds: float) -> bool:
        """Wait for the running methods; return False if some still run after `seconds`.

        Calls that wait for their turn are turned away.
        """
        self._places.close()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Accept no further calls; don't wait for threads that still run."""
        self._threads.close()

    async def _begin(
        self,
        loop: asyncio.AbstractEventLoop,
        run: _Run,
        method: Callable[[], Any],
        is_async: bool,
        time_remaining: Callable[[], float | None],
    ) -> Callable[[], object]:
        """Start a method as soon as it may run; return a function that gives it up."""
        if not self._places.take_at_once():
            patience = self._patience(time_remaining)
            if not await self._places.take(patience):
                raise Unavailable(
                    "--max-calls calls are running, and none ended in time; try again"
                )
        try:
            if is_async:
                give_up = self._start_task(loop, run, method)
            elif self._starting.locked():
                give_up = await self._start_thread_later(loop, run, method, time_remaining)
            else:
                try:
                    give_up = self._start_thread(loop, run, method)
                except NoThread:
                    give_up = await self._start_thread_later(loop, run, method, time_remaining)
        except BaseException:
            self._places.give_back()
            raise
        self._in_flight += 1
        self._idle.clear()
        self._deadlines.add(loop, run)
        return give_up

    def _patience(self, time_remaining: Callable[[], float | None]) -> float:
        """Return how long a call may wait so that its caller still gets an answer."""
        remaining = time_remaining()
        if remaining is None:
            return self._call_timeout
        return max(0.0, min(self._call_timeout, remaining - min(1.0, remaining / 10)))

    async def _start_thread_later(
        self,
        loop: asyncio.AbstractEventLoop,
        run: _Run,
        method: Callable[[], Any],
        time_remaining: Callable[[], float | None],
    ) -> Callable[[], object]:
        """Start a method in a thread as soon as one is available, first come, first served."""
        try:
            async with asyncio.timeout(self._patience(time_remaining)), self._starting:
                while True:
                    with contextlib.suppress(NoThread):
                        return self._start_thread(loop, run, method)
                    await asyncio.sleep(_NEXT_TRY)
        except TimeoutError:
            raise Unavailable(
                "the system does not let the driver start another thread; try again, or raise its "
                "limit of processes or of memory"
            ) from None

    def _start_task(
        self, loop: asyncio.AbstractEventLoop, run: _Run, method: Callable[[], Any]
    ) -> Callable[[], object]:
        """Start an `async def`; return a function that cancels it."""
        task = loop.create_task(self._await(run, method))

        def give_up() -> None:
            task.cancel()
            if not run.has_begun:  # a cancelled task never starts
                self._leave(run)

        return give_up

    async def _await(self, run: _Run, method: Callable[[], Any]) -> None:
        run.has_begun = True
        outcome: _Outcome
        try:
            outcome = await method(), None
        except asyncio.CancelledError:
            outcome = None, RuntimeError("the method cancelled itself")
        except BaseException as error:  # noqa: BLE001 - `Runner.run` raises it
            outcome = None, _log_if_given_up(run, error)
        self._end(run, outcome)

    def _start_thread(
        self, loop: asyncio.AbstractEventLoop, run: _Run, method: Callable[[], Any]
    ) -> Callable[[], object]:
        """Start a `def` in a thread; return a function that makes its `wait_for` end."""
        context = contextvars.copy_context()
        run.thread_call = call = waiting.ThreadCall(loop, errors=self._errors, groups=self._groups)
        work = partial(context.run, _outcome_of, run, call, method)
        self._threads.start(work, partial(self._hand_over, loop, run))
        return call.give_up

    def _hand_over(self, loop: asyncio.AbstractEventLoop, run: _Run, outcome: _Outcome) -> None:
        """Pass the outcome from the thread to the event loop."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, run, outcome)

    def _end(self, run: _Run, outcome: _Outcome) -> None:
        self._leave(run)
        _wake(run, outcome)

    def _leave(self, run: _Run) -> None:
        self._in_flight -= 1
        self._machines.discard(run.machine)
        self._places.give_back()
        if not self._in_flight:
            self._idle.set()


def _wake(run: _Run, outcome: _Outcome | None) -> None:
    """Let the caller continue, unless it already has."""
    if not run.waiter.done():
        run.waiter.set_result(outcome)


def _outcome_of(run: _Run, call: waiting.ThreadCall, method: Callable[[], Any]) -> _Outcome:
    waiting.current_call.set(call)
    try:
        return method(), None
    except BaseException as error:  # noqa: BLE001 - see above
        return None, _log_if_given_up(run, error)


def _log_if_given_up(run: _Run, error: BaseException) -> BaseException:
    """Log the error if nobody waits for it any more; return it."""
    if run.is_given_up and not isinstance(error, DeadlineExceeded):
        fields = {"method": run.name}
        if isinstance(run.machine, tuple):
            fields["machine"] = run.machine[-1]
        if run.waiting_for:
            fields["waited_for"] = run.waiting_for
        log.warning("a call failed after it was given up", exc_info=error, extra={"fields": fields})
    return error
