"""The kit's tools: makes calls, checks their outcome, and cleans up machines."""

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, NoReturn, TypeVar

import grpc
import pytest
from google.protobuf.message import Message

from cmi.client import MachineClass, machine_request
from cmi.conformance.scopes import Scopes
from cmi.conformance.target import Backstage, Target
from cmi.contract import RPC_BY_NAME
from cmi.v1 import cmi_pb2

Status = grpc.StatusCode
T = TypeVar("T")

OK: Final = Status.OK
DETAILS_TRAILER: Final = "grpc-status-details-bin"
PREFIX: Final = "conformance-"
TO_BE_REPEATED: Final = (Status.ABORTED, Status.UNAVAILABLE)
NOTHING_MADE: Final = (
    Status.INVALID_ARGUMENT,
    Status.OUT_OF_RANGE,
    Status.UNAUTHENTICATED,
    Status.PERMISSION_DENIED,
    Status.UNIMPLEMENTED,
)
"""Codes of CreateMachine after which no machine is left behind."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    Attributes:
        call: The item, the interrupted step, the RPC and the machine, for messages.
        code: The status code.
        message: The message of the status.
        response: The response; None if the code is not OK.
        details: Whether the status had details.
    """

    call: str
    code: Status
    message: str = ""
    response: Any = None
    details: bool = False

    def ok(self) -> Any:
        """Return the response; fail the test if there is none."""
        if self.code is not OK:
            pytest.fail(f"{self}, not OK", pytrace=False)
        return self.response

    def refused(self, *codes: str, naming: str = "") -> None:
        """Fail the test unless the code is one of `codes` and the message contains `naming`."""
        if self.code.name not in codes:
            pytest.fail(f"{self}, not {' or '.join(codes)}", pytrace=False)
        if naming not in self.message:
            pytest.fail(f"{self}, which does not name {naming}", pytrace=False)

    def __str__(self) -> str:
        said = f' "{" ".join(self.message.split())}"' if self.message else ""
        return f"{self.call} returned {self.code.name}{said}"


@dataclass
class Findings:
    """State that the tests of one target share.

    Attributes:
        capabilities: The announced capabilities; None before the first call.
        implemented: Whether a machine RPC is implemented, by its name.
        there: The existing machines, by name.
        made: How many machines were created.
        most: The highest number of machines that existed at once.
        is_gone: Whether the driver has stopped answering.
    """

    capabilities: Outcome | None = None
    implemented: dict[str, bool] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)
    made: int = 0
    most: int = 0
    is_gone: bool = False

    def is_made(self, name: str) -> None:
        """Count a machine, unless it already existed."""
        self.made += name not in self.there
        self.there.add(name)
        self.most = max(self.most, len(self.there))


@dataclass
class Kit:
    """Calls a driver and remembers the machines that it created.

    It generates unique machine names, and calls the driver with no other names. At the end of a
    test, it deletes the machines that the test created. Like MCM, it repeats a call that returns
    ABORTED or UNAVAILABLE, unless a test asks for the first answer.

    Attributes:
        target: The driver, and the input for it.
        channel: The connection to the driver.
        item: The checked item, such as C15.
        findings: The state from earlier tests.
        left_behind: The machines that could not be deleted, each with the reason.
    """

    target: Target
    channel: grpc.Channel
    item: str
    findings: Findings
    left_behind: list[str] = field(default_factory=list)
    _step: str = ""
    _names: list[tuple[MachineClass, str]] = field(default_factory=list)
    _ids: dict[str, set[str]] = field(default_factory=dict)
    _may_be_there: set[str] = field(default_factory=set)

    # Classes

    @property
    def mine(self) -> MachineClass:
        """The machine class of the target."""
        return self.target.machine_class

    @cached_property
    def scopes(self) -> Scopes:
        """The classes derived from it, with another cluster or role."""
        return Scopes(self.mine, self.target.scope)

    @property
    def other(self) -> MachineClass:
        """A machine class of another cluster; without one, the test is skipped."""
        return self.target.other_class or self._derived(self.scopes.of_cluster(1), "cluster")

    @property
    def other_role(self) -> MachineClass:
        """A class of another role in the same cluster; without one, the test is skipped."""
        return self._derived(self.scopes.of_role(1), "role")

    @property
    def empty(self) -> MachineClass:
        """A class of a cluster that has no machines; without one, the test is skipped."""
        return self._derived(self.scopes.of_cluster(2), "cluster")

    def _derived(self, found: MachineClass | None, what: str) -> MachineClass:
        if found is None:
            give = " or other_class (--other-class)" if what == "cluster" else ""
            pytest.skip(f"the kit can't find the {what} in the spec; set scope{give}")
        return found

    # Verdicts

    def check(self, holds: object, sentence: str) -> None:
        """Fail the test with a sentence unless `holds` is true."""
        if not holds:
            self.fail(sentence)

    def fail(self, sentence: str) -> NoReturn:
        """Fail the test with a sentence, after the item and the interrupted step."""
        pytest.fail(f"{self.where}: {sentence}", pytrace=False)

    @property
    def where(self) -> str:
        """The item and the interrupted step, such as `C15, interrupted at create_disk`."""
        return f"{self.item}, interrupted at {self._step}" if self._step else self.item

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        """Add an interrupted step to all messages while the context is open."""
        self._step = step
        try:
            yield
        finally:
            self._step = ""

    # Backstage

    def backstage(self, what: str) -> Backstage:
        """Return the backstage; without one, skip the test."""
        if self.target.backstage is None:
            pytest.skip(f"{what} can't be seen from outside")
        return self.target.backstage

    def hook(self, pick: Callable[[Backstage], T | None], what: str) -> T:
        """Return a hook of the backstage; if it is missing, skip the test."""
        found = pick(self.backstage(what))
        if not found:
            pytest.skip(f"{what}: the backstage has no hook for it")
        return found

    # Calls

    def identity(self, rpc: str) -> Outcome:
        """Call an RPC of Identity, once."""
        request = getattr(cmi_pb2, f"{rpc}Request")()
        return self.begin(rpc, request, service="Identity")()

    def create(
        self,
        name: str,
        machine_class: MachineClass | None = None,
        *,
        last_known_state: bytes = b"",
        timeout: float | None = None,
        once: bool = False,
    ) -> Outcome:
        """Call CreateMachine."""
        self.needs("CreateMachine")
        if not self._implements("DeleteMachine"):
            pytest.skip("a machine could not be deleted: DeleteMachine is not implemented, see C5")
        request = self.request("CreateMachine", name, machine_class)
        request.LastKnownState = last_known_state
        if name not in self.findings.there:
            self.needs_room(1)
        self._may_be_there.add(name)  # even if the run is interrupted before the answer
        outcome = self.send("CreateMachine", request, timeout=timeout, once=once)
        self._remember(name, outcome)
        return outcome

    def delete(
        self,
        name: str,
        machine_class: MachineClass | None = None,
        provider_id: str = "",
        *,
        timeout: float | None = None,
        once: bool = False,
    ) -> Outcome:
        """Call DeleteMachine."""
        self.needs("DeleteMachine")
        request = self.request("DeleteMachine", name, machine_class, provider_id)
        return self.send("DeleteMachine", request, timeout=timeout, once=once)

    def initialize(
        self,
        name: str,
        machine_class: MachineClass | None = None,
        provider_id: str = "",
        *,
        once: bool = False,
    ) -> Outcome:
        """Call InitializeMachine; skip the test if the driver does not implement it."""
        self.needs("InitializeMachine")
        request = self.request("InitializeMachine", name, machine_class, provider_id)
        return self.send("InitializeMachine", request, once=once)

    def status(
        self, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Outcome:
        """Call GetMachineStatus; skip the test if the driver does not implement it."""
        self.needs("GetMachineStatus")
        request = self.request("GetMachineStatus", name, machine_class, provider_id)
        return self.send("GetMachineStatus", request)

    def list_machines(self, machine_class: MachineClass | None = None) -> Outcome:
        """Call ListMachines; skip the test if the driver does not implement it."""
        self.needs("ListMachines")
        return self.send("ListMachines", self.request("ListMachines", "", machine_class))

    def listed(self, machine_class: MachineClass | None = None) -> dict[str, str]:
        """Return the listed machines: provider ID to name."""
        return dict(self.list_machines(machine_class).ok().MachineList)

    def shut_down(
        self, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Outcome:
        """Call ShutDownMachine; skip the test if the driver does not implement it."""
        self.needs("ShutDownMachine")
        request = self.request("ShutDownMachine", name, machine_class, provider_id)
        return self.send("ShutDownMachine", request)

    def volume_ids(self, volumes: Sequence[Mapping[str, Any]] | bytes) -> Outcome:
        """Call GetVolumeIDs; skip the test if the driver does not implement it."""
        self.needs("GetVolumeIDs")
        raw = volumes if isinstance(volumes, bytes) else json.dumps(volumes).encode()
        return self.send("GetVolumeIDs", cmi_pb2.GetVolumeIDsRequest(PVSpecList=raw))

    def send(
        self, rpc: str, request: Message, *, timeout: float | None = None, once: bool = False
    ) -> Outcome:
        """Send a request of a machine RPC and wait for its outcome.

        The test is skipped if the RPC turns out not to be implemented, which C5 checks.

        Args:
            rpc: Its name.
            request: The request.
            timeout: The deadline of the call, in seconds; None is the target's.
            once: Whether the first answer counts, even if it is ABORTED or UNAVAILABLE.
        """
        call = partial(self._send, rpc, request, timeout)
        outcome = call() if once else self.patiently(call)
        if outcome.code is Status.UNIMPLEMENTED and not self._implements(rpc):
            pytest.skip(f"{rpc} is not implemented, see C5")
        return outcome

    def _send(self, rpc: str, request: Message, timeout: float | None = None) -> Outcome:
        return self.begin(rpc, request, timeout=timeout)()

    def begin(
        self, rpc: str, request: Message, *, service: str = "Machine", timeout: float | None = None
    ) -> Callable[[], Outcome]:
        """Send a request; return a function that waits for its outcome."""
        method = self.channel.unary_unary(
            f"/cmi.v1.{service}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(cmi_pb2, f"{rpc}Response").FromString,
        )
        future = method.future(request, timeout=timeout or self.target.timeout)
        name = getattr(request, "MachineName", "")
        call = f"{self.where}: {rpc}{f' of {name}' if name else ''}"

        def outcome() -> Outcome:
            try:
                return Outcome(call, OK, response=future.result())
            except grpc.FutureCancelledError:
                return Outcome(call, Status.CANCELLED)
            except grpc.RpcError:
                trailers = {key for key, _ in future.trailing_metadata() or ()}
                message = future.details() or ""
                return Outcome(call, future.code(), message, details=DETAILS_TRAILER in trailers)

        return outcome

    def patiently(
        self,
        call: Callable[[], Outcome],
        *,
        codes: Collection[Status] = TO_BE_REPEATED,
        patience: float | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Repeat a call while it returns certain codes.

        Args:
            call: The call.
            codes: The codes after which to repeat it.
            patience: For how many seconds; None is the target's patience.
            stop: Returns whether to stop earlier.
        """
        deadline = time.monotonic() + (self.target.patience if patience is None else patience)
        pause = 0.01
        while True:
            outcome = call()
            if outcome.code not in codes or stop() or time.monotonic() > deadline:
                return outcome
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    # What the driver has

    def announces(self, rpc: str) -> bool:
        """Return whether the driver announces the RPC; skip the test if it announces nothing."""
        if self.findings.capabilities is None:
            self.findings.capabilities = self.identity("GetPluginCapabilities")
        answer = self.findings.capabilities.response
        if answer is None:
            pytest.skip("GetPluginCapabilities fails, see C4")
        return RPC_BY_NAME[rpc].capability in {each.rpc.type for each in answer.capabilities}

    def needs(self, rpc: str) -> None:
        """Skip the test if the driver does not announce the RPC."""
        if not self.announces(rpc):
            see = ", see C4" if RPC_BY_NAME[rpc].is_mandatory else ""
            pytest.skip(f"the driver does not announce {rpc}{see}")

    def needs_room(self, machines: int) -> None:
        """Skip the test if this many additional machines exceed the limit."""
        most = self.target.max_machines
        if most is not None and len(self.findings.there) + machines > most:
            pytest.skip(f"needs more than {most} machines at once (max_machines)")

    def try_out(self, rpc: str) -> Outcome:
        """Make a valid call of any machine RPC, about a machine that does not exist.

        It does not create a machine that could not be deleted.
        """
        if rpc == "GetVolumeIDs":
            return self._send(rpc, cmi_pb2.GetVolumeIDsRequest(PVSpecList=b"[]"))
        if rpc != "CreateMachine":
            return self._send(rpc, self.request(rpc, self.name()))
        name = self.name() if self._implements("DeleteMachine") else ""
        outcome = self._send(rpc, self.request(rpc, name))
        self._remember(name, outcome)
        return outcome

    def _implements(self, rpc: str) -> bool:
        known = self.findings.implemented
        if rpc not in known:
            known[rpc] = self.try_out(rpc).code is not Status.UNIMPLEMENTED
        return known[rpc]

    # Machines

    def name(self, machine_class: MachineClass | None = None, length: int = 0) -> str:
        """Return a new machine name; its machine is deleted when the test ends."""
        name = f"{PREFIX}{secrets.token_hex(4)}".ljust(length, "x")
        self._names.append((machine_class or self.mine, name))
        return name

    def also_in(self, machine_class: MachineClass, name: str) -> None:
        """Also delete the machine of this name in another class when the test ends."""
        self._names.append((machine_class, name))

    def take_over(self, machine_class: MachineClass, name: str, provider_id: str) -> None:
        """Delete a machine of an earlier run when the test ends."""
        self._names.append((machine_class, name))
        self._may_be_there.add(name)
        self._ids[name] = {provider_id}

    def make(self, machine_class: MachineClass | None = None) -> tuple[str, Any]:
        """Create a machine; return its name and the response."""
        name = self.name(machine_class)
        return name, self.create(name, machine_class).ok()

    def _remember(self, name: str, outcome: Outcome) -> None:
        """Remember the machine that a call of CreateMachine may have created."""
        if outcome.response is not None:
            self.findings.is_made(name)
            self._ids.setdefault(name, set()).add(outcome.response.ProviderID)
        if outcome.code not in NOTHING_MADE:
            self._may_be_there.add(name)
        elif name not in self._ids:
            self._may_be_there.discard(name)

    def clean_up(self) -> None:
        """Delete the created machines, the latest first; remember those that can't be deleted."""
        while self._names:
            machine_class, name = self._names[-1]
            if name in self._may_be_there and (reason := self._delete_at_last(machine_class, name)):
                self.left_behind.append(f"{name}: {reason}")
            self._names.pop()
            self.findings.there.discard(name)

    def _delete_at_last(self, machine_class: MachineClass, name: str) -> str:
        """Delete a machine by its name, and by its provider IDs in case it has lost its name.

        Returns:
            The reason why it can't be deleted, or an empty text.
        """
        for provider_id in ("", *self._ids.get(name, ())):
            if self.findings.is_gone:
                return "the driver has stopped answering"
            request = self.request("DeleteMachine", name, machine_class, provider_id)
            outcome = self.patiently(partial(self._send, "DeleteMachine", request))
            if outcome.code in (OK, Status.NOT_FOUND):
                continue
            self.findings.is_gone = self.identity("GetPluginInfo").code is Status.UNAVAILABLE
            return str(outcome) if self._is_listed(machine_class, name) else ""
        return ""

    def _is_listed(self, machine_class: MachineClass, name: str) -> bool:
        """Return whether ListMachines lists a machine."""
        outcome = self._send("ListMachines", self.request("ListMachines", "", machine_class))
        return outcome.response is None or name in outcome.response.MachineList.values()

    def request(
        self, rpc: str, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Any:
        """Return the request of a machine RPC, with the given values that are fields of it.

        Raises:
            ValueError: The kit did not generate the name.
        """
        if name and name not in {made for _, made in self._names}:
            raise ValueError(f"{name} is not a machine of this test")
        return machine_request(rpc, machine_class or self.mine, name, provider_id)
