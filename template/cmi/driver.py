"""The base class of a driver, and how the framework finds out what a driver can do."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from types import MappingProxyType
from typing import Any, ClassVar, Final, get_args, get_origin

from cmi import machine
from cmi.errors import ErrorTable, StartupError
from cmi.spec import ClusterScope, SecretsModel
from cmi.v1 import cmi_pb2

Capability = cmi_pb2.PluginCapability.RPC


class Driver:
    """Base class of a driver: subclass it and write the methods your cloud supports.

    `create_machine` and `delete_machine` are mandatory; `get_machine_status`,
    `list_machines`, `shut_down_machine` and `get_volume_ids` are optional. Each takes one
    request and returns the response of the same name (see `cmi.machine`). The annotation
    of the request says what is validated before the method is called.

    A `def` runs in a thread, so it may block; an `async def` runs on the event loop, so it
    must not. The capabilities that the driver announces are the methods it has (C4, C5).
    """

    errors: ClassVar[ErrorTable] = MappingProxyType({})
    """What the SDK's exceptions mean: exception class to `DriverError` class, or to a function."""

    provider_id_pattern: ClassVar[re.Pattern[str] | None] = None
    """What a provider ID of this driver looks like. Another one is ignored in favour of the
    machine's name: older clients put the last known state into the same field."""

    def probe(self) -> bool | Awaitable[bool]:
        """Tell whether the driver is ready: False while it initialises (C6).

        Raises:
            FailedPrecondition: It is unhealthy, or something it depends on is missing.
        """
        return True


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of `cmi.v1.Machine`, and the method and types that stand for it."""

    name: str
    method: str
    request: type
    response: type
    capability: Capability.Type.ValueType
    mandatory: bool = False


RPCS: Final = (
    Rpc(
        "CreateMachine",
        "create_machine",
        machine.CreateMachineRequest,
        machine.CreateMachineResponse,
        Capability.CREATE_MACHINE,
        mandatory=True,
    ),
    Rpc(
        "DeleteMachine",
        "delete_machine",
        machine.DeleteMachineRequest,
        machine.DeleteMachineResponse,
        Capability.DELETE_MACHINE,
        mandatory=True,
    ),
    Rpc(
        "GetMachineStatus",
        "get_machine_status",
        machine.GetMachineStatusRequest,
        machine.GetMachineStatusResponse,
        Capability.GET_MACHINE_STATUS,
    ),
    Rpc(
        "ListMachines",
        "list_machines",
        machine.ListMachinesRequest,
        machine.ListMachinesResponse,
        Capability.LIST_MACHINES,
    ),
    Rpc(
        "ShutDownMachine",
        "shut_down_machine",
        machine.ShutDownMachineRequest,
        machine.ShutDownMachineResponse,
        Capability.SHUTDOWN_MACHINE,
    ),
    Rpc(
        "GetVolumeIDs",
        "get_volume_ids",
        machine.GetVolumeIDsRequest,
        machine.GetVolumeIDsResponse,
        Capability.GET_VOLUME_IDS,
    ),
)


@dataclass(frozen=True, slots=True)
class Method:
    """A driver's method, ready to be called.

    Attributes:
        rpc: The RPC it answers.
        call: The bound method.
        is_async: It is an `async def`.
        spec: The model its provider spec is validated with, if it takes one.
        secrets: The model its secrets are validated with, if it takes any.
    """

    rpc: Rpc
    call: Callable[[Any], Any]
    is_async: bool
    spec: type[ClusterScope] | None
    secrets: type[SecretsModel] | None


def methods_of(driver: Driver) -> Mapping[str, Method]:
    """Return the methods that `driver` has, by the names of their RPCs.

    Raises:
        StartupError: A mandatory method is missing, or a signature is not as it must be.
    """
    methods = {}
    for rpc in RPCS:
        call = getattr(driver, rpc.method, None)
        if call is not None:
            methods[rpc.name] = _method(driver, rpc, call)
        elif rpc.mandatory:
            raise StartupError(f"{type(driver).__name__} has no method {rpc.method}; add it (C4)")
    return methods


def _method(driver: Driver, rpc: Rpc, call: Callable[[Any], Any]) -> Method:
    declared = (
        f"{type(driver).__name__}.{rpc.method} must be declared as "
        f"({_example(rpc)}) -> {rpc.response.__name__}"
    )
    try:
        signature = inspect.signature(call, eval_str=True)
    except Exception as error:  # noqa: BLE001 - it evaluates what the author wrote
        raise StartupError(f"{declared}, but: {error}") from None
    parameters = [*signature.parameters.values()]
    request = parameters[0].annotation if len(parameters) == 1 else None
    arguments = get_args(request)
    fits = (
        (get_origin(request) or request) is rpc.request
        and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        and signature.return_annotation is rpc.response
        and _are_models(rpc, arguments)
    )
    if not fits:
        raise StartupError(declared)
    spec, secrets = arguments or (None, None)
    return Method(rpc, call, inspect.iscoroutinefunction(call), spec, secrets)


def _are_models(rpc: Rpc, arguments: tuple[Any, ...]) -> bool:
    if rpc.request is machine.GetVolumeIDsRequest:
        return not arguments
    return (
        len(arguments) == 2
        and all(isinstance(argument, type) for argument in arguments)
        and issubclass(arguments[0], ClusterScope)
        and issubclass(arguments[1], SecretsModel)
    )


def _example(rpc: Rpc) -> str:
    parameters = "" if rpc.request is machine.GetVolumeIDsRequest else "[YourSpec, YourSecrets]"
    return f"self, request: {rpc.request.__name__}{parameters}"
