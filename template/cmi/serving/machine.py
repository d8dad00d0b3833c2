"""`cmi.v1.Machine`: from the wire to a driver's methods and back."""

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import Message
from pydantic_core import from_json

from cmi import messages
from cmi.contract import MACHINE, MAX_NAME_BYTES, RPCS
from cmi.driver import Driver
from cmi.errors import InvalidArgument, Unauthenticated, Unimplemented
from cmi.messages import PersistentVolumeSpec
from cmi.serving.background import in_background
from cmi.serving.handler import Behaviour, Call, Record, RecordApiRequest, generic_handler
from cmi.serving.intake import Intake
from cmi.serving.methods import Method
from cmi.serving.runner import Runner
from cmi.spec import located, read_secrets, read_spec, summary
from cmi.v1 import cmi_pb2

if TYPE_CHECKING:
    from cmi.serving.tracing import Tracing

log = logging.getLogger(__name__)

_QUICK: Final = 32 * 1024
"""The size up to which a request is validated on the event loop, in bytes."""

_MAX_SPEC_BYTES: Final = 256 * 1024
"""Ten times the size of real machine classes. Pydantic blocks every other thread while it
validates: for some 70 ms if everything in a spec of this size is wrong."""


def machine_handler(
    driver: Driver,
    methods: Mapping[str, Method],
    runner: Runner,
    intake: Intake,
    record: Record | None = None,
    count_left_out: Callable[[int], None] | None = None,
    record_api_request: RecordApiRequest | None = None,
    tracing: "Tracing | None" = None,
) -> grpc.GenericRpcHandler:
    """Return the handler that serves `cmi.v1.Machine` with the methods of `driver`.

    Args:
        driver: The driver.
        methods: The driver's methods.
        runner: Runs the methods.
        intake: Bounds the requests in flight.
        record: Called after every call.
        count_left_out: Called with the number of VMs that a list left out.
        record_api_request: Called after every request to the cloud.
        tracing: Makes a span for each call.
    """
    create = methods["CreateMachine"]
    can_initialize = "InitializeMachine" in methods
    behaviours: dict[str, Behaviour] = {
        rpc.name: _answer(
            driver,
            methods[rpc.name],
            create,
            runner,
            count_left_out,
            can_initialize=can_initialize,
        )
        if rpc.name in methods
        else _unimplemented(rpc.name, rpc.capability_name)
        for rpc in RPCS
    }
    return generic_handler(
        MACHINE,
        behaviours,
        driver.errors,
        logging.INFO,
        record,
        intake,
        record_api_request,
        tracing,
    )


def _unimplemented(name: str, capability: str) -> Behaviour:
    async def refuse(_call: Call, _message: Message) -> Message:
        raise Unimplemented(f"this driver has no {name}: it lacks the capability {capability}")

    return refuse


def _answer(
    driver: Driver,
    method: Method,
    create: Method,
    runner: Runner,
    count_left_out: Callable[[int], None] | None,
    *,
    can_initialize: bool,
) -> Behaviour:
    decode = _decoder(driver, method, create)
    encode = _encoder(method, can_initialize=can_initialize)
    concerns_machine = "MachineName" in method.rpc.request_fields
    keeps_state = "LastKnownState" in method.rpc.request_fields
    validated_as = {kind for kind in (method.spec, create.spec) if method.spec and kind}

    async def answer(call: Call, message: Any) -> Message:
        if concerns_machine:
            call.fields["machine"] = message.MachineName
        if keeps_state:
            call.known_state = message.LastKnownState
        if call.lease:
            for kind in validated_as:
                call.lease.watch_document(kind, message.ProviderSpec)
        if call.size <= _QUICK:
            request = decode(message)
        else:
            request = await in_background(decode, message)
        if call.lease and method.spec:
            call.lease.watch(request.provider_spec, request.secrets)
        response = await runner.run(
            method.call,
            request,
            is_async=method.is_async,
            machine=_identity_of(request) if concerns_machine else None,
            time_remaining=call.time_remaining,
        )
        reply = encode(response)
        if keeps_state and call.context.last_known_state and not response.last_known_state:
            reply.MergeFrom(type(reply)(LastKnownState=call.last_known_state))
        if provider_id := getattr(response, "provider_id", ""):
            call.fields["provider_id"] = provider_id
        if left_out := getattr(response, "left_out", 0):
            call.fields["left_out"] = left_out
            if count_left_out is not None:
                count_left_out(left_out)
        return reply

    return answer


def _identity_of(request: Any) -> Hashable:
    """Return a key that identifies the request's machine (C57)."""
    return request.provider_spec.cluster, request.machine_name


def _decoder(driver: Driver, method: Method, create: Method) -> Callable[[Any], Any]:
    """Return a function that validates a wire message and returns the request for `method`.

    A field that only `create` needs never causes the refusal of another call; otherwise, it could
    block a deletion. If a call is refused anyway, the error reports every problem that `create`
    would: MCM asks for the status of a new machine first, and its user should fix all mistakes at
    once.

    The returned function raises:
        InvalidArgument: Names every offending field (C7, C8, C33, C36, C47, C48).
        Unauthenticated: A credential is missing, and everything else is valid (C44).
    """
    spec, secrets = method.spec, method.secrets
    if spec is None or secrets is None:
        return _decode_volumes
    has_name, has_id, has_state = (
        field in method.rpc.request_fields
        for field in ("MachineName", "ProviderID", "LastKnownState")
    )

    def decode(message: Any) -> Any:
        fields: dict[str, object] = {}
        problems: list[str] = []
        if has_name:
            name = fields["machine_name"] = message.MachineName
            problems += _name_problems("machineName", name, required=True)
        if has_id:
            problems += _name_problems("providerID", message.ProviderID, required=False)
        if has_state:
            try:
                fields["last_known_state"] = message.LastKnownState.decode()
            except UnicodeDecodeError:
                problems.append("lastKnownState: is not UTF-8 (C16)")
        if len(message.ProviderSpec) > _MAX_SPEC_BYTES:
            raise InvalidArgument(f"providerSpec: has more than {_MAX_SPEC_BYTES} bytes")
        fields["provider_spec"], spec_problems = read_spec(spec, message.ProviderSpec)
        problems += spec_problems
        fields["secrets"], secret_problems, is_credential = read_secrets(secrets, message.Secrets)
        if problems or secret_problems:
            error = Unauthenticated if is_credential and not problems else InvalidArgument
            problems += _problems_of_a_creation(method, create, message)
            raise error(summary([*dict.fromkeys(problems + secret_problems)]))
        if has_id:
            fields |= _own_provider_id(driver, message, fields["provider_spec"])
        return method.request(**fields)

    return decode


def _problems_of_a_creation(method: Method, create: Method, message: Any) -> list[str]:
    """Return the problems that CreateMachine would report, unless it is the called method."""
    if method is create or create.spec is None or create.secrets is None:
        return []
    _, spec_problems = read_spec(create.spec, message.ProviderSpec)
    _, secret_problems, _ = read_secrets(create.secrets, message.Secrets)
    return spec_problems + secret_problems


def _decode_volumes(message: Any) -> messages.GetVolumeIDsRequest:
    try:
        volumes = from_json(message.PVSpecList)
    except ValueError as error:
        raise InvalidArgument(f"pvSpecList: is not JSON: {error}") from None
    if not isinstance(volumes, list):
        raise InvalidArgument("pvSpecList: is not a list")
    problems = [
        f"pvSpecList[{index}]: is not an object"
        for index, volume in enumerate(volumes)
        if not isinstance(volume, dict)
    ]
    if problems:
        raise InvalidArgument(summary(problems))
    return messages.GetVolumeIDsRequest(volumes=[*map(PersistentVolumeSpec, volumes)])


def _name_problems(field: str, value: str, *, required: bool) -> list[str]:
    if required and not value:
        return [f"{field}: is empty; it names the machine"]
    if len(value.encode()) > MAX_NAME_BYTES:
        return [f"{field}: is longer than {MAX_NAME_BYTES} bytes"]
    return []


def _own_provider_id(driver: Driver, message: Any, scope: Any) -> dict[str, object]:
    """Return the provider ID, and the scope with the location that the ID contains.

    An ID that can't be from this driver is left out.
    """
    provider_id: str = message.ProviderID
    form = driver.provider_id_format
    if not provider_id or form is None:
        return {"provider_id": provider_id}
    try:
        return {
            "provider_id": provider_id,
            "provider_spec": located(scope, form.parse(provider_id)),
        }
    except ValueError:
        log.warning(
            "ignored a provider ID that is not from this driver; looking the machine up by name",
            extra={"fields": {"machine": message.MachineName}},
        )
        return {"provider_id": ""}


def _encoder(method: Method, *, can_initialize: bool) -> Callable[[Any], Message]:
    """Return a function that converts a result of `method` into a wire message.

    Args:
        method: The method.
        can_initialize: Whether the driver has `initialize_machine`.

    The returned function raises:
        TypeError, ValueError: The contract does not allow the result. This is a bug in the driver,
            and the caller gets INTERNAL (C13, C45).
    """
    where, kind = method.rpc.method, method.response
    encode = _ENCODERS[kind]

    def checked(response: Any) -> Message:
        if not isinstance(response, kind):
            raise TypeError(f"{where} returned {type(response).__name__}, not {kind.__name__}")
        if getattr(response, "uninitialized", False) and not can_initialize:
            raise ValueError(
                f"{where} returned uninitialized, and the driver has no initialize_machine; add it"
            )
        return encode(where, response)

    return checked


def _encode_create(where: str, response: messages.CreateMachineResponse) -> Message:
    return cmi_pb2.CreateMachineResponse(
        ProviderID=_checked_name(where, "provider_id", response.provider_id),
        NodeName=_checked_name(where, "node_name", response.node_name),
        LastKnownState=response.last_known_state.encode(),
        Addresses=_addresses(where, response.addresses),
    )


def _encode_initialize(where: str, response: messages.InitializeMachineResponse) -> Message:
    return cmi_pb2.InitializeMachineResponse(
        ProviderID=_checked_name(where, "provider_id", response.provider_id),
        NodeName=_checked_name(where, "node_name", response.node_name),
        Addresses=_addresses(where, response.addresses),
    )


def _encode_delete(_where: str, response: messages.DeleteMachineResponse) -> Message:
    return cmi_pb2.DeleteMachineResponse(LastKnownState=response.last_known_state.encode())


def _encode_status(where: str, response: messages.GetMachineStatusResponse) -> Message:
    return cmi_pb2.GetMachineStatusResponse(
        ProviderID=_checked_name(where, "provider_id", response.provider_id),
        NodeName=_checked_name(where, "node_name", response.node_name),
        Addresses=_addresses(where, response.addresses),
        Uninitialized=response.uninitialized,
    )


def _encode_list(where: str, response: messages.ListMachinesResponse) -> Message:
    if not all(key and name for key, name in response.machines.items()):
        raise ValueError(f"{where} returned an empty provider ID or machine name (C30)")
    return cmi_pb2.ListMachinesResponse(MachineList=response.machines)


def _encode_shut_down(_where: str, response: messages.ShutDownMachineResponse) -> Message:
    return cmi_pb2.ShutDownMachineResponse(LastKnownState=response.last_known_state.encode())


def _encode_volumes(where: str, response: messages.GetVolumeIDsResponse) -> Message:
    if isinstance(response.volume_ids, str) or not all(response.volume_ids):
        raise ValueError(f"{where} returned an empty volume ID, or something other than a list")
    return cmi_pb2.GetVolumeIDsResponse(VolumeIDs=response.volume_ids)


_ENCODERS: Final[Mapping[type, Callable[[str, Any], Message]]] = {
    messages.CreateMachineResponse: _encode_create,
    messages.InitializeMachineResponse: _encode_initialize,
    messages.DeleteMachineResponse: _encode_delete,
    messages.GetMachineStatusResponse: _encode_status,
    messages.ListMachinesResponse: _encode_list,
    messages.ShutDownMachineResponse: _encode_shut_down,
    messages.GetVolumeIDsResponse: _encode_volumes,
}


def _addresses(
    where: str, addresses: Iterable[messages.NodeAddress]
) -> Iterator[cmi_pb2.NodeAddress]:
    for each in addresses:
        if not each.address:
            raise ValueError(f"{where} returned an empty address (C61)")
        yield cmi_pb2.NodeAddress(Type=messages.AddressType(each.type), Address=each.address)


def _checked_name(where: str, attribute: str, value: str) -> str:
    size = len(value.encode())
    if not 0 < size <= MAX_NAME_BYTES:
        raise ValueError(
            f"{where} returned a {attribute} of {size} bytes, not of 1 to {MAX_NAME_BYTES} (C9)"
        )
    return value
