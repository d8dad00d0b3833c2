"""The extensions: features of MCM's drivers in Go for which machine-spec has no field."""

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import grpc
import pytest

from cmi import (
    AddressType,
    ApiRequest,
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    Internal,
    NodeAddress,
    NotFound,
    instrumented,
    remember,
    run_async,
)
from cmi.call_context import MAX_STATE_BYTES
from cmi.client import Client, connect
from cmi.endpoint import Endpoint
from cmi.testing import captured_log, serving
from cmi.v1 import cmi_pb2_grpc
from tests.framework.support import (
    AsyncStandIn,
    Keys,
    Scope,
    Spec,
    StandIn,
    created,
    machine_class,
    raising,
    request,
)
from tests.framework.test_metrics import measured, samples
from tests.support import PATIENCE

STATE_TRAILER = "cmi-last-known-state-bin"


def state_of_failure(endpoint: Endpoint, rpc: str = "CreateMachine", known: bytes = b"") -> object:
    """Make a call that fails; return the last known state that its error contains."""
    with connect(endpoint) as channel:
        message = request(rpc, **({"LastKnownState": known} if known else {}))
        call = getattr(cmi_pb2_grpc.MachineStub(channel), rpc)
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=PATIENCE)
    trailer: Any = caught.value.trailing_metadata()
    return dict(trailer).get(STATE_TRAILER)


def remembering(state: str, error: BaseException) -> Callable[[object], None]:
    def method(_request: object) -> None:
        remember("an earlier one")
        remember(state)
        raise error

    return method


@pytest.mark.parametrize("kind", [StandIn, AsyncStandIn])
@pytest.mark.parametrize("error", [Internal("broken"), RuntimeError("a defect")], ids=repr)
def test_an_error_carries_what_the_driver_remembers(kind: type[StandIn], error: Exception) -> None:
    with serving(kind(remembering("order 4711 ✓", error))) as endpoint:
        assert state_of_failure(endpoint) == "order 4711 ✓".encode()


def test_an_error_hands_back_what_came_with_the_request() -> None:
    """MCM stores the state that an error contains, so an error without it would erase the state."""
    with serving(StandIn(raising(Internal("broken")))) as endpoint:
        assert state_of_failure(endpoint, known=b"order 4711") == b"order 4711"
        assert state_of_failure(endpoint) is None
    with serving(StandIn(remembering("", Internal("broken")))) as endpoint:
        assert state_of_failure(endpoint, known=b"order 4711") == b""


def test_other_errors_carry_no_state() -> None:
    class Forgetful(StandIn):
        def get_machine_status(
            self, request: GetMachineStatusRequest[Scope, Keys]
        ) -> GetMachineStatusResponse:
            remember("nobody asks for it")
            raise NotFound

    with serving(Forgetful()) as endpoint:
        assert state_of_failure(endpoint, "GetMachineStatus") is None


def test_an_answer_carries_it_too_unless_it_has_its_own() -> None:
    class Remembering(StandIn):
        def create_machine(
            self, request: CreateMachineRequest[Spec, Keys]
        ) -> CreateMachineResponse:
            remember("remembered")
            return created(request)

        def delete_machine(
            self, request: DeleteMachineRequest[Scope, Keys]
        ) -> DeleteMachineResponse:
            remember("remembered")
            return DeleteMachineResponse()

    with serving(Remembering()) as endpoint, Client(endpoint) as client:
        assert client.create(machine_class(), "m1", "its own").LastKnownState == b"its own"
        assert client.create(machine_class(), "m2").LastKnownState == b"remembered"
        assert client.delete(machine_class(), "m2", "", "old").LastKnownState == b"remembered"


def test_a_state_with_a_secret_is_dropped() -> None:
    driver = StandIn(remembering("with correct-horse", Internal("broken")))
    with captured_log() as log, serving(driver) as endpoint:
        assert state_of_failure(endpoint) is None
    assert any("dropped the last known state" in line for line in log)
    assert not any("correct-horse" in line for line in log)


def test_a_state_is_bounded() -> None:
    longest = "x" * MAX_STATE_BYTES
    with serving(StandIn(remembering(longest, Internal("y" * 2000)))) as endpoint:
        assert state_of_failure(endpoint) == longest.encode()
        assert state_of_failure(endpoint, known=b"z") == longest.encode()
    with serving(StandIn(raising(Internal("broken")))) as endpoint:
        assert state_of_failure(endpoint, known=b"z" * (MAX_STATE_BYTES + 1)) is None
    with pytest.raises(ValueError, match="4097 bytes is too long"):
        remember("x" * (MAX_STATE_BYTES + 1))


class Telling(StandIn):
    """A driver that returns addresses, and that its VMs are uninitialized."""

    addresses = (NodeAddress(AddressType.INTERNAL_IP, "10.0.0.1"),)

    def get_machine_status(
        self, request: GetMachineStatusRequest[Scope, Keys]
    ) -> GetMachineStatusResponse:
        return GetMachineStatusResponse(
            provider_id="standin:///m1",
            node_name="m1",
            addresses=self.addresses,
            uninitialized=True,
        )


def test_addresses_and_uninitialized_reach_the_wire() -> None:
    with serving(Telling()) as endpoint, Client(endpoint) as client:
        answer = client.status(machine_class(), "m1")
        assert [(each.Type, each.Address) for each in answer.Addresses] == [
            ("InternalIP", "10.0.0.1")
        ]
        assert answer.Uninitialized


def test_uninitialized_without_initialize_machine_is_a_defect() -> None:
    class Incomplete(Telling):
        initialize_machine = None  # type: ignore[assignment]

    with (
        captured_log() as log,
        serving(Incomplete()) as endpoint,
        Client(endpoint) as client,
        pytest.raises(grpc.RpcError, match="internal error"),
    ):
        client.status(machine_class(), "m1")
    assert any("has no initialize_machine; add it" in line for line in log)


def test_an_empty_address_is_a_defect() -> None:
    class Empty(Telling):
        addresses = (NodeAddress(AddressType.INTERNAL_IP, ""),)

    with (
        serving(Empty()) as endpoint,
        Client(endpoint) as client,
        pytest.raises(grpc.RpcError, match="internal error"),
    ):
        client.status(machine_class(), "m1")


class SdkError(Exception):
    request_id = "req-of-a-failure"


class NoSuchServer(Exception):
    """The server does not exist."""


class Answer:
    request_id = "req-of-an-answer"


class Sdk:
    """An SDK with plain methods, async methods, and attributes that are not public methods."""

    region = "north"

    def get_server(self, name: str) -> Answer:
        if name == "missing":
            raise SdkError(name)
        if name == "absent":
            raise NoSuchServer(name)
        return Answer()

    async def list_servers(self) -> Answer:
        return Answer()

    def _internal(self) -> str:
        return "internal"


class Calling(Driver):
    """A driver that makes requests to an SDK."""

    errors = MappingProxyType({NoSuchServer: NotFound})

    def __init__(self) -> None:
        self.sdk = instrumented(Sdk())

    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        self.sdk.get_server("here")
        run_async(self.sdk.list_servers())
        with ApiRequest("by_hand") as api_request:
            api_request.id = "req-by-hand"
        self.sdk.get_server(request.machine_name)
        return created(request)

    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        return DeleteMachineResponse()


def requests(address: Endpoint, name: str) -> dict[str, float]:
    """Return the values of a metric about API requests, by service."""
    return {
        labels["service"]: value
        for (found, pairs), value in samples(address).items()
        if found == name and (labels := dict(pairs))["provider"] == "driver.under-test"
    }


def test_requests_to_the_cloud_are_counted_as_by_drivers_in_go() -> None:
    with measured(Calling()) as (endpoint, address), Client(endpoint) as client:
        client.create(machine_class(), "m1")
        with pytest.raises(grpc.RpcError):
            client.create(machine_class(), "missing")
        with pytest.raises(grpc.RpcError):
            client.create(machine_class(), "absent")
        total = requests(address, "mcm_cloud_api_requests_total")
        failed = requests(address, "mcm_cloud_api_requests_failed_total")
        took = requests(address, "mcm_cloud_api_api_request_duration_seconds_count")
    assert total == {"get_server": 6, "list_servers": 3, "by_hand": 3}
    assert failed == {"get_server": 1}
    assert took == {"get_server": 5, "list_servers": 3, "by_hand": 3}


def test_the_clouds_request_ids_are_logged() -> None:
    with (
        captured_log() as log,
        serving(Calling()) as endpoint,
        Client(endpoint) as client,
        pytest.raises(grpc.RpcError),
    ):
        client.create(machine_class(), "missing")
    made = [line for line in log if "api request" in line]
    ids = ("req-of-an-answer", "req-of-an-answer", "req-by-hand", "req-of-a-failure")
    assert [each for each, line in zip(ids, made, strict=True) if each in line] == [*ids]
    (call,) = [line for line in log if "CreateMachine" in line and "INTERNAL" in line]
    assert "req-of-a-failure" in call


def test_an_instrumented_client_is_otherwise_the_client() -> None:
    client = instrumented(Sdk())
    assert client.region == "north"
    assert client._internal() == "internal"
    assert isinstance(client.get_server("here"), Answer)
    with pytest.raises(AttributeError):
        client.no_such_method()  # type: ignore[attr-defined]


def test_an_api_request_reports_when_it_ran() -> None:
    before = time.time_ns()
    api_request = ApiRequest("get_server")
    api_request.end(failed=True)
    assert before <= api_request.began <= time.time_ns()
    assert api_request.seconds > 0
    assert api_request.failed
