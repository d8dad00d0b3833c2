"""`cmi.v1.Machine`: from the wire to a driver's methods and back."""

import logging
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message
from pydantic import TypeAdapter, ValidationError

from cmi import machine
from cmi.calls import Calls
from cmi.driver import RPCS, Driver, Method
from cmi.errors import InvalidArgument, Unauthenticated, Unimplemented
from cmi.machine import MAX_NAME_BYTES, PersistentVolumeSpec
from cmi.service import Behaviour, Call, Record, generic_handler
from cmi.spec import problems_of, read_secrets, read_spec, summary
from cmi.v1 import cmi_pb2

log = logging.getLogger(__name__)

_VOLUME_LIST = TypeAdapter(list[dict[str, Any]])


def machine_handler(
    driver: Driver, methods: Mapping[str, Method], calls: Calls, record: Record | None = None
) -> grpc.GenericRpcHandler:
    """Return the handler that serves `cmi.v1.Machine` with the methods of `driver`.

    `record` is told of every call.
    """
    behaviours: dict[str, Behaviour] = {
        rpc.name: _answer(driver, methods[rpc.name], calls)
        if rpc.name in methods
        else _unimplemented(rpc.name, cmi_pb2.PluginCapability.RPC.Type.Name(rpc.capability))
        for rpc in RPCS
    }
    service = cmi_pb2.DESCRIPTOR.services_by_name["Machine"]
    return generic_handler(service, behaviours, driver.errors, logging.INFO, record)


def _unimplemented(name: str, capability: str) -> Behaviour:
    async def refuse(_call: Call, _message: Message) -> Message:
        raise Unimplemented(f"this driver has no {name}: {capability} is not a capability of it")

    return refuse


def _answer(driver: Driver, method: Method, calls: Calls) -> Behaviour:
    async def answer(call: Call, message: Any) -> Message:
        if "MachineName" in message.DESCRIPTOR.fields_by_name:
            call.fields["machine"] = message.MachineName
        request = _decode(driver, method, message)
        for part in ("provider_spec", "secrets"):
            if hasattr(request, part):
                call.redactor.watch(getattr(request, part))
        reply: Message = _encode(
            method, await calls.run(partial(method.call, request), _machine(request))
        )
        if provider_id := getattr(reply, "ProviderID", ""):
            call.fields["provider_id"] = provider_id
        return reply

    return answer


def _machine(request: Any) -> Hashable | None:
    """Return what tells the request's machine from all others, if it concerns one (C57)."""
    if not hasattr(request, "machine_name"):
        return None
    return request.provider_spec.cluster, request.machine_name


def _decode(driver: Driver, method: Method, message: Any) -> Any:
    """Validate a wire message and return the request that `method` takes.

    Raises:
        InvalidArgument: Names every offending field (C7, C8, C33, C36, C47, C48).
        Unauthenticated: All is valid but a credential is missing (C44).
    """
    if method.spec is None or method.secrets is None:
        return machine.GetVolumeIDsRequest(volumes=_volumes(message.PVSpecList))
    wire_fields = message.DESCRIPTOR.fields_by_name
    fields: dict[str, object] = {}
    problems: list[str] = []
    if "MachineName" in wire_fields:
        problems += _name_problems("machineName", message.MachineName, required=True)
        fields["machine_name"] = message.MachineName
    if "ProviderID" in wire_fields:
        problems += _name_problems("providerID", message.ProviderID, required=False)
        fields["provider_id"] = _own_provider_id(driver, message)
    if "LastKnownState" in wire_fields:
        try:
            fields["last_known_state"] = message.LastKnownState.decode()
        except UnicodeDecodeError:
            problems.append("lastKnownState: is not UTF-8 (C16)")
    fields["provider_spec"], spec_problems = read_spec(method.spec, message.ProviderSpec)
    problems += spec_problems
    fields["secrets"], secret_problems, is_credential = read_secrets(
        method.secrets, message.Secrets
    )
    if problems or secret_problems:
        error = Unauthenticated if is_credential and not problems else InvalidArgument
        raise error(summary(problems + secret_problems))
    return method.rpc.request(**fields)


def _name_problems(field: str, value: str, *, required: bool) -> list[str]:
    if required and not value:
        return [f"{field}: is empty; it names the machine"]
    if len(value.encode()) > MAX_NAME_BYTES:
        return [f"{field}: is longer than {MAX_NAME_BYTES} bytes"]
    return []


def _own_provider_id(driver: Driver, message: Any) -> str:
    """Return the provider ID, or nothing if it can't be one of this driver."""
    provider_id: str = message.ProviderID
    pattern = driver.provider_id_pattern
    if provider_id and pattern is not None and not pattern.fullmatch(provider_id):
        log.warning(
            "ignored a provider ID that is not this driver's; the machine is looked up by name",
            extra={"fields": {"machine": message.MachineName}},
        )
        return ""
    return provider_id


def _volumes(raw: bytes) -> list[PersistentVolumeSpec]:
    try:
        volumes = _VOLUME_LIST.validate_json(raw)
    except ValidationError as error:
        raise InvalidArgument(summary(problems_of("pvSpecList", error))) from None
    return [PersistentVolumeSpec(fields) for fields in volumes]


def _encode(method: Method, response: Any) -> Any:
    """Return the wire message for what `method` returned.

    Raises:
        TypeError, ValueError: It returned what the contract does not allow: a defect of the
            driver, which its caller sees as INTERNAL (C13, C45).
    """
    where = method.rpc.method
    if not isinstance(response, method.rpc.response):
        raise TypeError(
            f"{where} returned {type(response).__name__}, not {method.rpc.response.__name__}"
        )
    match response:
        case machine.ListMachinesResponse():
            if not all(key and name for key, name in response.machines.items()):
                raise ValueError(f"{where} returned an empty provider ID or machine name (C30)")
            return cmi_pb2.ListMachinesResponse(MachineList=response.machines)
        case machine.GetVolumeIDsResponse():
            if isinstance(response.volume_ids, str) or not all(response.volume_ids):
                raise ValueError(f"{where} returned an empty volume ID, or no list of them")
            return cmi_pb2.GetVolumeIDsResponse(VolumeIDs=response.volume_ids)
    fields = {}
    for attribute, wire_field in (("provider_id", "ProviderID"), ("node_name", "NodeName")):
        if hasattr(response, attribute):
            value = fields[wire_field] = getattr(response, attribute)
            if not 0 < len(value.encode()) <= MAX_NAME_BYTES:
                raise ValueError(
                    f"{where} returned a {attribute} of {len(value.encode())} bytes, "
                    f"not of 1 to {MAX_NAME_BYTES} (C9)"
                )
    if hasattr(response, "last_known_state"):
        fields["LastKnownState"] = response.last_known_state.encode()
    return getattr(cmi_pb2, f"{method.rpc.name}Response")(**fields)
