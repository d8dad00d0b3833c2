"""The kit's hands: calls whose outcome is looked at, and machines that are cleaned up."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message

from cmi.client import MachineClass, machine_request
from cmi.conformance import specs
from cmi.conformance.target import Backstage, Target
from cmi.contract import CLUSTER_TAG, RPCS
from cmi.v1 import cmi_pb2

OK: Final = grpc.StatusCode.OK
DETAILS_TRAILER: Final = "grpc-status-details-bin"
PREFIX: Final = "conformance-"
_PASSING: Final = (grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    Attributes:
        call: The RPC and what is particular to this call, for messages.
        code: The status.
        message: The status's message.
        response: The answer; None if the code is not OK.
        details: Whether the status had details.
    """

    call: str
    code: grpc.StatusCode
    message: str = ""
    response: Any = None
    details: bool = False

    def ok(self) -> Any:
        """Return the response; fail the test if there is none."""
        if self.code is not OK:
            pytest.fail(f"{self.call} answered {self.code.name}: {self.message}", pytrace=False)
        return self.response

    def refused(self, *codes: str, naming: str = "") -> None:
        """Fail the test unless the status is one of `codes` and its message holds `naming`."""
        if self.code.name not in codes:
            said = f": {self.message}" if self.message else ""
            expected = " or ".join(codes)
            pytest.fail(
                f"{self.call} answered {self.code.name}{said}; not {expected}", pytrace=False
            )
        if naming not in self.message:
            pytest.fail(f"{self.call} does not name {naming}: {self.message}", pytrace=False)


@dataclass
class Kit:
    """Calls a driver and remembers the machines that it made.

    Machine names are unique; no call about a machine is made under any other name. What a
    test made is deleted at its end.
    """

    target: Target
    channel: grpc.Channel
    left_behind: list[str] = field(default_factory=list)
    is_gone: bool = False
    _made: list[tuple[MachineClass, str]] = field(default_factory=list)
    _perhaps_there: set[str] = field(default_factory=set)

    @property
    def mine(self) -> MachineClass:
        """The machine class of the target."""
        return self.target.machine_class

    @cached_property
    def other(self) -> MachineClass:
        """A machine class of another cluster."""
        return self.target.other_class or specs.of_scope(self.mine, CLUSTER_TAG, "-conformance")

    def name(self, machine_class: MachineClass | None = None, length: int = 0) -> str:
        """Return a new machine name; its machine is deleted when the test ends."""
        name = f"{PREFIX}{secrets.token_hex(4)}".ljust(length, "x")
        self._made.append((machine_class or self.mine, name))
        return name

    def backstage(self, what: str) -> Backstage:
        """Return the way backstage, or skip the test since `what` can't be seen from outside."""
        if self.target.backstage is None:
            pytest.skip(f"{what} can't be seen from outside")
        return self.target.backstage

    # Calls

    def identity(self, rpc: str) -> Outcome:
        """Call an RPC of Identity."""
        return self.send(rpc, getattr(cmi_pb2, f"{rpc}Request")(), service="Identity")

    def create(
        self,
        name: str,
        machine_class: MachineClass | None = None,
        *,
        last_known_state: bytes = b"",
        timeout: float | None = None,
    ) -> Outcome:
        """Call CreateMachine."""
        request = self.request("CreateMachine", name, machine_class)
        request.LastKnownState = last_known_state
        outcome = self.send("CreateMachine", request, timeout=timeout)
        if outcome.code is not grpc.StatusCode.INVALID_ARGUMENT:
            self._perhaps_there.add(name)
        return outcome

    def delete(
        self, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Outcome:
        """Call DeleteMachine."""
        request = self.request("DeleteMachine", name, machine_class, provider_id)
        return self.send("DeleteMachine", request)

    def status(
        self, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Outcome:
        """Call GetMachineStatus, or skip the test if the driver has none."""
        self.needs("GetMachineStatus")
        request = self.request("GetMachineStatus", name, machine_class, provider_id)
        return self.send("GetMachineStatus", request)

    def list_machines(self, machine_class: MachineClass | None = None) -> Outcome:
        """Call ListMachines, or skip the test if the driver has none."""
        self.needs("ListMachines")
        return self.send("ListMachines", self.request("ListMachines", "", machine_class))

    def listed(self, machine_class: MachineClass | None = None) -> dict[str, str]:
        """Return what ListMachines lists: provider ID to name."""
        return dict(self.list_machines(machine_class).ok().MachineList)

    def shut_down(
        self, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Outcome:
        """Call ShutDownMachine, or skip the test if the driver has none."""
        self.needs("ShutDownMachine")
        request = self.request("ShutDownMachine", name, machine_class, provider_id)
        return self.send("ShutDownMachine", request)

    def volume_ids(self, volumes: Sequence[Mapping[str, Any]] | bytes) -> Outcome:
        """Call GetVolumeIDs, or skip the test if the driver has none."""
        self.needs("GetVolumeIDs")
        raw = volumes if isinstance(volumes, bytes) else json.dumps(volumes).encode()
        return self.send("GetVolumeIDs", cmi_pb2.GetVolumeIDsRequest(PVSpecList=raw))

    def send(
        self, rpc: str, request: Message, *, service: str = "Machine", timeout: float | None = None
    ) -> Outcome:
        """Send a request and wait for its outcome."""
        return self.begin(rpc, request, service=service, timeout=timeout)()

    def begin(
        self, rpc: str, request: Message, *, service: str = "Machine", timeout: float | None = None
    ) -> Callable[[], Outcome]:
        """Send a request; the function that is returned waits for its outcome."""
        method = self.channel.unary_unary(
            f"/cmi.v1.{service}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(cmi_pb2, f"{rpc}Response").FromString,
        )
        future = method.future(request, timeout=timeout or self.target.timeout)

        def outcome() -> Outcome:
            try:
                return Outcome(rpc, OK, response=future.result())
            except grpc.FutureCancelledError:
                return Outcome(rpc, grpc.StatusCode.CANCELLED)
            except grpc.RpcError:
                trailers = {key for key, _ in future.trailing_metadata() or ()}
                message = future.details() or ""
                return Outcome(rpc, future.code(), message, details=DETAILS_TRAILER in trailers)

        return outcome

    # What the driver has

    @cached_property
    def capabilities(self) -> list[int]:
        """The announced capabilities, in their order."""
        answer = self.identity("GetPluginCapabilities").ok()
        return [capability.rpc.type for capability in answer.capabilities]

    def announces(self, rpc: str) -> bool:
        """Tell whether the driver announces the RPC of this name."""
        return any(each.name == rpc and each.capability in self.capabilities for each in RPCS)

    def needs(self, rpc: str) -> None:
        """Skip the test if the driver does not have the RPC, or only says so (that is C5)."""
        if not self.announces(rpc):
            pytest.skip(f"the driver does not announce {rpc}")
        if rpc not in self._tried:
            self._tried[rpc] = self.try_out(rpc).code is not grpc.StatusCode.UNIMPLEMENTED
        if not self._tried[rpc]:
            pytest.skip(f"{rpc} is not implemented, see C5")

    @cached_property
    def _tried(self) -> dict[str, bool]:
        return {}

    def try_out(self, rpc: str) -> Outcome:
        """Make a valid call of any machine RPC, about a machine that does not exist."""
        if rpc == "GetVolumeIDs":
            return self.send(rpc, cmi_pb2.GetVolumeIDsRequest(PVSpecList=b"[]"))
        return self.send(rpc, self.request(rpc, self.name(), None))

    # Machines

    def make(self, machine_class: MachineClass | None = None) -> tuple[str, Any]:
        """Create a machine; return its name and the response."""
        name = self.name(machine_class)
        return name, self.create(name, machine_class).ok()

    def patiently(self, call: Callable[[], Outcome], deadline: float | None = None) -> Outcome:
        """Repeat a call while it answers that it is to be repeated.

        Args:
            call: The call.
            deadline: When to stop, by the monotonic clock; None is after the target's patience.
        """
        if deadline is None:
            deadline = time.monotonic() + self.target.patience
        pause = 0.01
        while True:
            outcome = call()
            if outcome.code not in _PASSING or time.monotonic() > deadline:
                return outcome
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def clean_up(self) -> None:
        """Delete what was made, the latest first; note down what can't be deleted."""
        deadline = time.monotonic() + self.target.patience
        while self._made:
            machine_class, name = self._made[-1]
            request = self.request("DeleteMachine", name, machine_class)
            again = partial(self.send, "DeleteMachine", request)
            outcome = self.patiently(again, deadline)
            self._made.pop()
            gone = outcome.code in (OK, grpc.StatusCode.NOT_FOUND)
            if not gone and name in self._perhaps_there:
                self.left_behind.append(f"{name}: {outcome.code.name}: {outcome.message}")
                self.is_gone = outcome.code is grpc.StatusCode.UNAVAILABLE

    def request(
        self, rpc: str, name: str, machine_class: MachineClass | None = None, provider_id: str = ""
    ) -> Any:
        """Return the request of a machine RPC, with those of the fields that it has.

        Raises:
            ValueError: The name is not one that this kit made up.
        """
        if name and name not in {made for _, made in self._made}:
            raise ValueError(f"{name} is not a machine of this test")
        return machine_request(rpc, machine_class or self.mine, name, provider_id)
