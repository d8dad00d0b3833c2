"""A small driver whose behaviour each test defines, and a caller that sees the raw responses."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import Message
from pydantic import Field, SecretStr

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    Credential,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    GetVolumeIDsRequest,
    GetVolumeIDsResponse,
    InitializeMachineRequest,
    InitializeMachineResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    SecretsModel,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
    SpecModel,
    TaggedScope,
)
from cmi.client import MachineClass
from cmi.endpoint import Endpoint
from cmi.v1 import cmi_pb2
from tests.support import PATIENCE, await_condition, bytes_rpc

IDENTITY_RPCS = ("GetPluginInfo", "GetPluginCapabilities", "Probe")
MACHINE_RPCS = (
    "CreateMachine",
    "DeleteMachine",
    "GetMachineStatus",
    "ListMachines",
    "ShutDownMachine",
    "InitializeMachine",
)
"""The RPCs whose requests contain a provider spec and secrets."""

TAGS = {"kubernetes.io/cluster/one": "1", "kubernetes.io/role/node": "1"}
SPEC = {"tags": TAGS, "region": "north"}
SECRETS = {"apiToken": b"correct-horse"}


class Scope(TaggedScope):
    region: str


class Disk(SpecModel):
    size_gib: int = Field(alias="sizeGiB", ge=1)


class Spec(Scope, extra="forbid"):
    disks: tuple[Disk, ...] = ()
    login: SecretStr | None = None


class Keys(SecretsModel):
    api_token: Credential
    user_data: SecretStr | None = None


Action: TypeAlias = Callable[[Any], Any]


def created(request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
    """Return the response of a driver whose cloud always has room."""
    name = request.machine_name
    return CreateMachineResponse(
        provider_id=name, node_name=name, last_known_state=request.last_known_state
    )


def raising(error: BaseException) -> Action:
    """Return a method that raises `error`."""

    def method(_request: object) -> None:
        raise error

    return method


class StandIn(Driver):
    """Has all RPCs. CreateMachine calls the test's function; the others answer and do nothing."""

    def __init__(self, create: Action = created) -> None:
        self.create = create
        self.requests: list[Any] = []

    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        self.requests.append(request)
        answer: CreateMachineResponse = self.create(request)
        return answer

    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        self.requests.append(request)
        return DeleteMachineResponse(last_known_state=request.last_known_state)

    def get_machine_status(
        self, request: GetMachineStatusRequest[Scope, Keys]
    ) -> GetMachineStatusResponse:
        self.requests.append(request)
        return GetMachineStatusResponse(provider_id="standin:///m1", node_name="m1")

    def list_machines(self, request: ListMachinesRequest[Scope, Keys]) -> ListMachinesResponse:
        self.requests.append(request)
        return ListMachinesResponse(machines={"standin:///m1": "m1"})

    def shut_down_machine(
        self, request: ShutDownMachineRequest[Scope, Keys]
    ) -> ShutDownMachineResponse:
        self.requests.append(request)
        return ShutDownMachineResponse(last_known_state=request.last_known_state)

    def initialize_machine(
        self, request: InitializeMachineRequest[Spec, Keys]
    ) -> InitializeMachineResponse:
        self.requests.append(request)
        return InitializeMachineResponse(provider_id="standin:///m1", node_name="m1")

    def get_volume_ids(self, request: GetVolumeIDsRequest) -> GetVolumeIDsResponse:
        self.requests.append(request)
        found = (volume.csi_handle("standin") for volume in request.volumes)
        return GetVolumeIDsResponse(volume_ids=[handle for handle in found if handle])


class AsyncStandIn(Driver):
    """Has the two mandatory RPCs as `async def`. The test's function may be `async def` too."""

    def __init__(self, create: Action = created) -> None:
        self.create = create

    async def create_machine(
        self, request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse:
        answer = self.create(request)
        if hasattr(answer, "__await__"):
            answer = await answer
        result: CreateMachineResponse = answer
        return result

    async def delete_machine(
        self, request: DeleteMachineRequest[Scope, Keys]
    ) -> DeleteMachineResponse:
        return DeleteMachineResponse()


BOTH = (StandIn, AsyncStandIn)
"""The driver whose methods are `def`, and the one whose methods are `async def`."""


class Gate:
    """A method that waits until the test opens it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self._entered = threading.Semaphore(0)

    def __call__(self, request: Any) -> CreateMachineResponse:
        self.enter()
        assert self.opened.wait(PATIENCE)
        return created(request)

    def enter(self) -> None:
        """Record that a call has entered the method."""
        self._entered.release()

    def has_entered(self) -> bool:
        """Return whether a call has entered the method that was not reported before."""
        return self._entered.acquire(blocking=False)

    def await_entered(self, calls: int = 1) -> None:
        """Wait until that many more calls have entered the method."""
        for _ in range(calls):
            assert self._entered.acquire(timeout=PATIENCE)


def machine_class(
    secrets: Mapping[str, bytes] = SECRETS, *, cluster: str = "one", **fields: Any
) -> MachineClass:
    """Return a valid machine class, with some fields or secrets replaced."""
    tags = {f"kubernetes.io/cluster/{cluster}": "1", "kubernetes.io/role/node": "1"}
    return MachineClass(
        provider_spec=json.dumps({**SPEC, "tags": tags, **fields}).encode(), secrets=secrets
    )


def request(rpc: str, **fields: Any) -> Message:
    """Return a valid request of a machine RPC, with some fields replaced."""
    kind = getattr(cmi_pb2, f"{rpc}Request")
    valid = {"MachineName": "m1", "ProviderSpec": json.dumps(SPEC).encode(), "Secrets": SECRETS}
    known = kind.DESCRIPTOR.fields_by_name
    message: Message = kind(
        **{key: value for key, value in (valid | fields).items() if key in known}
    )
    return message


@dataclass(frozen=True)
class Answer:
    """The response as it came over the wire."""

    code: str
    message: str
    trailers: frozenset[str]
    reply: bytes


def ask(
    endpoint: Endpoint, rpc: str, message: Message | bytes = b"", timeout: float = PATIENCE
) -> Answer:
    """Call an RPC with a message, or with arbitrary bytes."""
    service = "Identity" if rpc in IDENTITY_RPCS else "Machine"
    wire = message if isinstance(message, bytes) else message.SerializeToString()
    with grpc.insecure_channel(endpoint.target) as channel:
        method = bytes_rpc(channel, f"/cmi.v1.{service}/{rpc}")
        try:
            reply, call = method.with_call(wire, timeout=timeout)
        except grpc.RpcError as error:
            reply, call = b"", cast("grpc.Call", error)
    return Answer(
        code=call.code().name,
        message=call.details() or "",
        trailers=frozenset(key for key, _ in call.trailing_metadata() or ()),
        reply=reply,
    )


def give_up(endpoint: Endpoint, message: Message, has_begun: Callable[[], bool]) -> Answer:
    """Make a CreateMachine call that the server gives up while its method runs.

    On a busy machine, the call's time limit may pass before the method begins. A call that is given
    up that early has no effect, so the function repeats it.

    Returns:
        The answer to the call that was given up.
    """
    answers: list[Answer] = []

    def is_in_its_method() -> bool:
        answers.append(ask(endpoint, "CreateMachine", message))
        # The code is ABORTED if the method of the previous call has just begun.
        assert answers[-1].code in {"DEADLINE_EXCEEDED", "ABORTED"}, answers[-1]
        return has_begun()

    await_condition(is_in_its_method)
    return next(answer for answer in reversed(answers) if answer.code == "DEADLINE_EXCEEDED")
