"""Serving one gRPC service: bytes in, bytes or a status out, one log line for each call.

This is the outermost layer. Whatever happens within a call ends here as one of the
contract's codes with a message for people (C41, C42), without status details (C43) and
without a secret (C50).
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from cmi.errors import (
    DriverError,
    ErrorTable,
    Internal,
    InvalidArgument,
    public_message,
    translate,
)
from cmi.serving import redaction

log = logging.getLogger(__name__)

_NO_SECRETS = redaction.Redactor()

Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True)
class Call:
    """One call while it is served.

    Attributes:
        rpc: Its name, such as CreateMachine.
        redactor: Knows the call's secrets.
        fields: What the log line says besides rpc, code and duration.
    """

    rpc: str
    redactor: redaction.Redactor = _NO_SECRETS
    fields: dict[str, object] = field(default_factory=dict)


Behaviour = Callable[[Call, Any], Awaitable[Message]]
"""Answers a request message with a response message, or raises."""

Record = Callable[[str, grpc.StatusCode, float], None]
"""Is told of every call that ended: its RPC, its status, how many seconds it took."""


def generic_handler(
    service: ServiceDescriptor,
    behaviours: Mapping[str, Behaviour],
    errors: ErrorTable,
    level: int,
    record: Record | None = None,
) -> grpc.GenericRpcHandler:
    """Return the handler of `service`.

    Args:
        service: Its descriptor.
        behaviours: For every method of the service, by name, what answers it.
        errors: What the exceptions of the driver's SDK mean.
        level: The log level of a call that succeeds.
        record: Is told of every call.
    """
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _Unary(method, behaviours[method.name], errors, level, record).answer
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


class _Unary:
    """Answers the calls of one RPC.

    It takes and returns bytes, so that undecodable ones get a status of ours, not gRPC's.
    """

    def __init__(
        self,
        method: MethodDescriptor,
        behaviour: Behaviour,
        errors: ErrorTable,
        level: int,
        record: Record | None,
    ) -> None:
        self._name = method.name
        self._request = GetMessageClass(method.input_type)
        self._behaviour = behaviour
        self._errors = errors
        self._level = level
        self._record = record

    async def answer(self, wire: bytes, context: Context) -> bytes:
        began = time.perf_counter()
        call = Call(self._name)
        try:
            message = self._decode(wire)
            call.redactor = redaction.Redactor(message)
            redaction.current.set(call.redactor)
            response = await self._behaviour(call, message)
            reply = response.SerializeToString()
        except asyncio.CancelledError:
            self._end(call, began, grpc.StatusCode.CANCELLED, logging.WARNING)
            raise
        except Exception as error:  # noqa: BLE001 - the one place where every error ends
            failure = translate(error, self._errors) or _unexpected(call, error)
            await self._fail(call, began, failure, context)
        self._end(call, began, grpc.StatusCode.OK, self._level)
        return reply

    def _decode(self, wire: bytes) -> Message:
        try:
            return self._request.FromString(wire)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a {self._request.DESCRIPTOR.full_name} message"
            ) from None

    async def _fail(
        self, call: Call, began: float, failure: DriverError, context: Context
    ) -> NoReturn:
        # First scrubbed, then cut: half a secret would not be found any more.
        message = public_message(call.redactor.scrub(failure.message))
        call.fields["detail"] = message
        self._end(call, began, failure.code, logging.WARNING)
        await context.abort(failure.code, message)

    def _end(self, call: Call, began: float, code: grpc.StatusCode, level: int) -> None:
        seconds = time.perf_counter() - began
        if self._record is not None:
            self._record(call.rpc, code, seconds)
        if log.isEnabledFor(level):
            redaction.current.set(_NO_SECRETS)  # below is none, so nothing has to be searched
            milliseconds = round(seconds * 1000, 3)
            fields = {"rpc": call.rpc, "code": code.name, "duration_ms": milliseconds}
            log.log(level, "call", extra={"fields": fields | call.fields})


def _unexpected(call: Call, error: Exception) -> DriverError:
    """Log an exception that nobody mapped, and return what its caller may know (C45)."""
    incident = secrets.token_hex(4)
    log.error(
        "unexpected error",
        exc_info=error,
        extra={"fields": {"rpc": call.rpc, "incident": incident}},
    )
    return Internal(f"internal error of the driver; its log tells more under incident {incident}")
