"""Finds a driver's methods, and the types in their signatures."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, get_args, get_origin

from cmi import messages
from cmi.contract import RPCS, Rpc
from cmi.driver import Driver
from cmi.errors import StartupError
from cmi.spec import ClusterScope, SecretsModel


@dataclass(frozen=True, slots=True)
class Method:
    """A driver's method, ready to be called.

    Attributes:
        rpc: The RPC that it implements.
        request: The class of its request, from `cmi.messages`.
        response: The class of its response, from `cmi.messages`.
        call: The bound method.
        is_async: Whether it is an `async def`.
        spec: The model that validates the provider spec, if its request has one.
        secrets: The model that validates the secrets, if its request has any.
    """

    rpc: Rpc
    request: type
    response: type
    call: Callable[[Any], Any]
    is_async: bool
    spec: type[ClusterScope] | None
    secrets: type[SecretsModel] | None


def methods_of(driver: Driver) -> Mapping[str, Method]:
    """Return the methods that `driver` has, by the names of their RPCs.

    Raises:
        StartupError: A mandatory method is missing, or a signature is wrong.
    """
    methods = {}
    for rpc in RPCS:
        call = getattr(driver, rpc.method, None)
        if call is not None:
            methods[rpc.name] = _method(driver, rpc, call)
        elif rpc.is_mandatory:
            raise StartupError(f"{type(driver).__name__} has no method {rpc.method}; add it (C4)")
    return methods


def _method(driver: Driver, rpc: Rpc, call: Callable[[Any], Any]) -> Method:
    request: type = getattr(messages, f"{rpc.name}Request")
    response: type = getattr(messages, f"{rpc.name}Response")
    declared = (
        f"{type(driver).__name__}.{rpc.method} must be declared as "
        f"({_example(request)}) -> {response.__name__}"
    )
    try:
        signature = inspect.signature(call, eval_str=True)
    except Exception as error:  # noqa: BLE001 - it evaluates what the author wrote
        raise StartupError(f"{declared}, but: {error}") from None
    parameters = [*signature.parameters.values()]
    annotation = parameters[0].annotation if len(parameters) == 1 else None
    arguments = get_args(annotation)
    fits = (
        (get_origin(annotation) or annotation) is request
        and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        and signature.return_annotation is response
        and _are_models(request, arguments)
    )
    if not fits:
        raise StartupError(declared)
    spec, secrets = arguments or (None, None)
    return Method(rpc, request, response, call, inspect.iscoroutinefunction(call), spec, secrets)


def _are_models(request: type, arguments: tuple[Any, ...]) -> bool:
    if request is messages.GetVolumeIDsRequest:
        return not arguments
    return (
        len(arguments) == 2
        and all(isinstance(argument, type) for argument in arguments)
        and issubclass(arguments[0], ClusterScope)
        and not inspect.isabstract(arguments[0])
        and issubclass(arguments[1], SecretsModel)
    )


def _example(request: type) -> str:
    parameters = "" if request is messages.GetVolumeIDsRequest else "[YourSpec, YourSecrets]"
    return f"self, request: {request.__name__}{parameters}"
