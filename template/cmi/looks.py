"""One look at the cloud for all calls that look at the same time.

Fifty calls that wait for fifty VMs need not ask the cloud fifty times. Calls of one server with
the same session class, scope and credentials form a group. Each of them waits for its own pause,
and the first whose pause is over looks for all that wait at that moment: by one list. A call that
is alone asks for its own VM, which is cheaper.

Nobody gets what was read before they asked. So a call never misses its own change to the cloud.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any, Final, Generic, Protocol, TypeVar, get_args, get_origin

from cmi.contract import USER_DATA_KEY
from cmi.seam import VMT, Leftover, Session
from cmi.spec import ClusterScope, SecretsModel
from cmi.waiting import (
    current_call,
    has_answered,
    is_passing,
    is_waiting_for,
    paced,
    pauses,
    sleep_until,
)

T = TypeVar("T")
S = TypeVar("S")
ScopeT = TypeVar("ScopeT", bound=ClusterScope)

GAP: Final = 1.0
"""Seconds from the beginning of a group's look to that of the next, if several calls wait."""

LONGEST_GAP: Final = 10.0
"""The same while the cloud has passing trouble: the gap doubles with each look that fails."""

PATIENCE: Final = 10.0
"""Seconds until a look is taken to hang, and another call looks too."""

IMPATIENCE: Final = 1.0
"""The same for calls that do not pause, but only read together with others."""


class Request(Protocol):
    """A request of any RPC that concerns VMs."""

    @property
    def provider_spec(self) -> Any:
        """The spec or the scope."""

    @property
    def secrets(self) -> Any:
        """The credentials."""


class Looks(Generic[ScopeT, VMT]):
    """What one call sees of the cloud, if possible together with other calls.

    Args:
        session: The call's session.
        request: The call's request.
    """

    def __init__(self, session: Session[ScopeT, Any, Any, VMT], request: Request) -> None:
        self._session = session
        self._scope: ScopeT = request.provider_spec
        self._secrets: SecretsModel = request.secrets

    def named(self, name: str) -> list[VMT]:
        """Return the VMs with a name, as they are now."""

        def vms(pause: float) -> list[VMT]:
            return group.look(
                pause,
                alone=lambda: _with_name(name, self._session.find_vms(self._scope, name)),
                together=self._vms,
                pick=lambda vms: _with_name(name, vms),
            )

        with self._joined("read") as group:
            return paced(f"the cloud to tell of machine {name}", vms)

    def vm(self, provider_id: str) -> VMT | None:
        """Return the VM with this provider ID, as it is now."""
        with self._joined("read") as group:
            return paced(
                f"the cloud to tell of VM {provider_id}",
                lambda pause: self._vm(group, provider_id, pause),
            )

    def wait_for_vm(self, what: str, provider_id: str, look: Callable[[VMT | None], T | None]) -> T:
        """Pause and call `look` with the VM as it is then, until that returns something true.

        Passing trouble with the reads does not end the wait, but lengthens the pauses of the
        group. An exception of `look` does.

        Args:
            what: What is waited for, for messages: see `cmi.wait_for`.
            provider_id: The VM's provider ID.
            look: Tells from the VM, or from None if there is none, whether the wait is over.

        Raises:
            DeadlineExceeded: Nobody waits for the call any more.
            Exception: A read failed otherwise.
        """
        with self._joined("VMs") as group:
            return _until(look, what, lambda pause: self._vm(group, provider_id, pause), pauses())

    def wait_for_leftovers(
        self, what: str, name: str, look: Callable[[list[Leftover]], T | None]
    ) -> T:
        """Call `look` with what VMs have left behind, until that returns something true.

        It is called at once, and then after pauses; everything else is as in `wait_for_vm`.

        Args:
            what: What is waited for.
            name: The machine whose leftovers are wanted; those of others may be among them.
            look: Tells whether the wait is over.
        """

        def leftovers(pause: float) -> list[Leftover]:
            return group.look(
                pause,
                alone=lambda: [*self._session.list_leftovers(self._scope, name)],
                together=lambda: [*self._session.list_leftovers(self._scope, None)],
                pick=lambda found: found,
            )

        with self._joined("leftovers") as group:
            return _until(look, what, leftovers, chain([0.0], pauses()))

    def _vm(self, group: "_Group", provider_id: str, pause: float = 0) -> VMT | None:
        def own() -> VMT | None:
            return self._session.get_vm(self._scope, provider_id)

        def pick(vms: list[VMT]) -> VMT | None:
            """Pick it from a list. A list may be behind, so what it lacks is asked for."""
            return next((vm for vm in vms if vm.provider_id == provider_id), None) or own()

        return group.look(pause, alone=own, together=self._vms, pick=pick)

    def _vms(self) -> list[VMT]:
        return [*self._session.list_vms(self._scope)]

    @contextmanager
    def _joined(self, what: str) -> Iterator["_Group"]:
        """Be in the group of the calls that look for the same while the context is open.

        The group is gone with the last call that leaves it.
        """
        call = current_call.get()
        groups = call.groups if call and self._session.shares_lists else {}
        key = _Key(
            type(self._session),
            what,
            self._scope.cluster,
            scope_fields(type(self._session), self._scope),
            _credentials(self._secrets),
        )
        with _lock:
            group: _Group = groups.setdefault(key, _Group())
            group.members += 1
        try:
            yield group
        finally:
            with _lock:
                group.members -= 1
                if not group.members:
                    del groups[key]


def _until(
    look: Callable[[S], T | None],
    what: str,
    see: Callable[[float], S],
    pauses: Iterator[float],
) -> T:
    """Call `look` with what `see` sees after each pause, until it returns something true."""
    is_waiting_for(what)
    while True:
        try:
            seen = see(next(pauses))
        except Exception as error:
            if not is_passing(error):
                raise
            continue
        has_answered()
        if found := look(seen):
            is_waiting_for("")
            return found


def _with_name(name: str, vms: Iterable[VMT]) -> list[VMT]:
    return [vm for vm in vms if vm.name == name]


@cache
def _scope_type(session: type) -> type[ClusterScope] | None:
    """Return the scope that `Session[…]` names among the bases of a class, if it names one."""
    for cls in session.__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            scope = get_args(base)[0] if get_origin(base) is Session else None
            if isinstance(scope, type) and issubclass(scope, ClusterScope):
                return scope
    return None


def scope_fields(session: type, spec: ClusterScope) -> dict[str, Any]:
    """Return the part of a spec by which the session finds VMs; all of it if that is unknown."""
    scope = _scope_type(session) or type(spec)
    return {name: getattr(spec, name) for name in scope.model_fields} | (spec.model_extra or {})


def _credentials(secrets: SecretsModel) -> dict[str, Any]:
    """Return all secrets but the user data, which differs from machine to machine."""
    return {
        name: getattr(secrets, name)
        for name, field in type(secrets).model_fields.items()
        if (field.validation_alias or name) != USER_DATA_KEY
    }


_lock = threading.Lock()
"""Held for a moment to change a group, never while the cloud is asked."""


@dataclass(frozen=True)
class _Key:
    """What calls have in common that may see the same.

    The fields are compared as they are: a digest of secrets would have to know how to write
    each type that an author may use.
    """

    session: type
    what: str
    cluster: str
    scope: Mapping[str, Any] = field(hash=False)
    credentials: Mapping[str, Any] = field(hash=False, repr=False)


@dataclass(eq=False)
class _Waiter:
    """A call that wants to see the cloud.

    Attributes:
        due: When its pause is over.
        is_urgent: It makes no pause.
        woken: Set when it is to find out whether it is its turn, or what was seen.
        seen: What was seen, once that is known.
    """

    due: float
    is_urgent: bool
    woken: threading.Event = field(default_factory=threading.Event)
    seen: "Future[Any] | None" = None


class _Group:
    """Calls that look at the same time.

    Attributes:
        members: How many they are, those included that are between two looks.
        waiting: Those that have asked and not seen anything yet.
        failures: How many looks in a row have met passing trouble.
    """

    def __init__(self) -> None:
        self.members = 0
        self.waiting: list[_Waiter] = []
        self._running: object | None = None
        self._began = float("-inf")
        self.failures = 0

    def look(
        self,
        pause: float = 0,
        *,
        alone: Callable[[], T],
        together: Callable[[], S],
        pick: Callable[[S], T],
    ) -> T:
        """Pause, then look, or have somebody look.

        Args:
            pause: For how long, in seconds. The look comes later if the group has just looked, or
                has trouble. With 0 it comes at once, unless another one runs.
            alone: The look for this call alone.
            together: The look for all calls of the group.
            pick: Picks what `alone` would have returned from what `together` returned.

        Raises:
            DeadlineExceeded: Nobody waits for the call any more.
            Exception: What the look raised, whoever looked.
        """
        waiter = _Waiter(time.monotonic() + pause, is_urgent=not pause)
        with _lock:
            self.waiting.append(waiter)
        try:
            while waiter.seen is None:
                audience = self._audience(waiter)
                if audience == [waiter]:
                    with self._looking():
                        return alone()
                if audience:
                    self._look_for(audience, together)
                else:
                    self._sleep(waiter)
        finally:
            with _lock:
                if waiter in self.waiting:
                    self.waiting.remove(waiter)
                self._wake_next()
        try:
            return pick(waiter.seen.result())
        finally:
            del waiter  # an exception that is kept in its own traceback keeps all of the call

    def _audience(self, waiter: _Waiter) -> list[_Waiter]:
        """Begin a look if it is this call's turn; return for whom."""
        with _lock:
            if self._seconds_left(waiter) > 0:
                return []
            self._began = time.monotonic()
            self._running = object()
            return [*self.waiting]

    def _seconds_left(self, waiter: _Waiter) -> float:
        """Return how long it takes until it is this call's turn, if nothing happens meanwhile."""
        earliest = waiter.due
        if self._running:
            patience = IMPATIENCE if waiter.is_urgent else PATIENCE
            earliest = max(earliest, self._began + patience)
        elif not waiter.is_urgent and (self.failures or len(self.waiting) > 1):
            gap = min(GAP * 2**self.failures, LONGEST_GAP)
            earliest = max(earliest, self._began + gap)
        return earliest - time.monotonic()

    def _sleep(self, waiter: _Waiter) -> None:
        with _lock:
            waiter.woken.clear()
            seconds = self._seconds_left(waiter)
            if waiter.seen or seconds <= 0:
                return
        sleep_until(waiter.woken, seconds)

    def _look_for(self, audience: list[_Waiter], look: Callable[[], Any]) -> None:
        """Look, and let the audience see what there is."""
        seen: Future[Any] = Future()
        try:
            with self._looking():
                seen.set_result(look())
        except Exception as error:
            call = current_call.get()
            if call and call.given_up.is_set():  # perhaps this is why it failed
                raise
            seen.set_exception(error)
        with _lock:
            for waiter in audience:
                waiter.seen = waiter.seen or seen
                waiter.woken.set()
            self.waiting = [each for each in self.waiting if each not in audience]
        del audience, seen, waiter  # see `look`

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """End the look that was begun, and keep in mind whether the cloud answered."""
        running = self._running
        failures = 0
        try:
            yield
        except Exception as error:
            failures = self.failures + is_passing(error)
            raise
        finally:
            with _lock:
                self.failures = failures
                if self._running is running:  # it was not taken to hang
                    self._running = None

    def _wake_next(self) -> None:
        """Wake the call whose turn is next; it may find that it has to wait on."""
        if self.waiting and not self._running:
            min(self.waiting, key=lambda each: each.due).woken.set()
