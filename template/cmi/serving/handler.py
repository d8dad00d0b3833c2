"""Serves one gRPC service: bytes in, bytes or a status out, one log line for each call.

This is the outermost layer. Every error within a call becomes one of the contract's codes here,
with a message for people (C41, C42), without status details (C43) and without a secret (C50).
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from cmi import call_context, redaction
from cmi.call_context import MAX_STATE_BYTES, ApiRequest, CallContext
from cmi.errors import (
    DriverError,
    ErrorTable,
    Internal,
    InvalidArgument,
    NotFound,
    public_message,
    translate,
)
from cmi.serving.background import in_background
from cmi.serving.intake import Intake

if TYPE_CHECKING:
    from cmi.serving.metrics import Metrics
    from cmi.serving.tracing import CallSpan, Tracing

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True)
class Call:
    """One call while it is served.

    Attributes:
        rpc: Its name, such as CreateMachine.
        time_remaining: Returns the seconds until the caller's deadline, or None without one.
        size: The size of the request, in bytes.
        lease: Keeps the call's secrets out of the log; None for a call without secrets.
        fields: The fields of the log line besides rpc, code and duration.
        context: What the driver's code reports about the call.
        known_state: The last known state in the request.
        span: The call's span; None without tracing.
    """

    rpc: str
    time_remaining: Callable[[], float | None]
    size: int
    lease: redaction.Lease | None = None
    fields: dict[str, object] = field(default_factory=dict)
    context: CallContext = field(default_factory=CallContext)
    known_state: bytes = b""
    span: "CallSpan | None" = None

    @property
    def last_known_state(self) -> bytes:
        """The state that the next call for the machine gets if this one fails."""
        told = self.context.last_known_state
        return self.known_state if told is None else told.encode()


Behaviour = Callable[[Call, Any], Awaitable[Message]]
"""Answers a request message with a response message, or raises."""

STATE_TRAILER: Final = "cmi-last-known-state-bin"
"""The trailing metadata of an error that carries the last known state, as `cmi.proto` says."""


def generic_handler(
    service: ServiceDescriptor,
    behaviours: Mapping[str, Behaviour],
    errors: ErrorTable,
    level: int,
    intake: Intake | None = None,
    metrics: "Metrics | None" = None,
    tracing: "Tracing | None" = None,
) -> grpc.GenericRpcHandler:
    """Return the handler of `service`.

    Args:
        service: Its descriptor.
        behaviours: The function that answers each method of the service, by the method's name.
        errors: The meaning of the SDK's exceptions.
        level: The log level of a call that succeeds.
        intake: Bounds the requests in flight; None for calls without secrets that end at once.
        metrics: Counts each call, and each request that it makes to the cloud.
        tracing: Makes a span for each call.
    """
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _Unary(method, behaviours[method.name], errors, level, intake, metrics, tracing).answer
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


class _Unary:
    """Answers the calls of one RPC.

    It takes and returns bytes, so that the framework, not gRPC, chooses the status for bytes that
    can't be decoded.
    """

    def __init__(
        self,
        method: MethodDescriptor,
        behaviour: Behaviour,
        errors: ErrorTable,
        level: int,
        intake: Intake | None,
        metrics: "Metrics | None",
        tracing: "Tracing | None",
    ) -> None:
        self._name = method.name
        self._request = GetMessageClass(method.input_type)
        self._behaviour = behaviour
        self._errors = errors
        self._level = level
        self._intake = intake
        self._metrics = metrics
        self._record_api_request = metrics.record_api_request if metrics else None
        self._tracing = tracing
        self._keeps_state = "LastKnownState" in method.output_type.fields_by_name

    async def answer(self, wire: bytes, context: Context) -> bytes:
        call = self._call(context, len(wire))
        reply, code, detail = await self._answer(call, wire)
        failed = code is not grpc.StatusCode.OK
        trailer = await self._trailer(call) if failed else ()
        del wire, call  # gRPC keeps the exception of the last abort, and with it this frame
        if failed:
            # Outside of `except`: if the caller has gone, gRPC logs the abort together with the
            # exception that is being handled, which would be the SDK's.
            await context.abort(code, detail, trailer)
        return reply

    async def _answer(self, call: Call, wire: bytes) -> tuple[bytes, grpc.StatusCode, str]:
        began = time.perf_counter()
        reply, code, level, detail = b"", grpc.StatusCode.OK, self._level, ""
        try:
            try:
                reply = await self._reply(call, wire)
            except Exception as error:  # noqa: BLE001 - the one place where every error ends
                code, detail = self._failure(call, error)
            if code is not grpc.StatusCode.OK:
                level = logging.WARNING
                if call.context.request_id:
                    call.fields["request_id"] = call.context.request_id
                detail = call.fields["detail"] = await _public(detail)
        except asyncio.CancelledError:
            self._end(call, began, grpc.StatusCode.CANCELLED, logging.WARNING)
            raise
        self._end(call, began, code, level)
        return reply, code, detail

    def _call(self, context: Context, size: int) -> Call:
        call = Call(self._name, context.time_remaining, size)
        call.context.is_failure = self._is_failure
        call.context.on_api_request = self._record_api_request
        if self._tracing is not None:
            call.span = span = self._tracing.begin(self._name, context.invocation_metadata() or ())

            def on_api_request(request: ApiRequest) -> None:
                span.add(request)
                if self._record_api_request is not None:
                    self._record_api_request(request)

            call.context.on_api_request = on_api_request
        return call

    def _is_failure(self, error: Exception) -> bool:
        return not isinstance(translate(error, self._errors), NotFound)

    async def _trailer(self, call: Call) -> tuple[tuple[str, bytes], ...]:
        """Return the last known state as an error's trailer, unless it contains a secret.

        An empty one, if the driver asked for it, makes MCM forget what it knows.
        """
        state = call.last_known_state
        if not self._keeps_state or (not state and call.context.last_known_state is None):
            return ()
        text = state.decode(errors="replace")
        if len(state) > MAX_STATE_BYTES or await _scrubbed(text) != text:
            log.warning(
                "dropped the last known state of a failed call: it is too long or holds a secret",
                extra={"fields": {"rpc": call.rpc}},
            )
            return ()
        return ((STATE_TRAILER, state),)

    async def _reply(self, call: Call, wire: bytes) -> bytes:
        message = self._decode(wire)
        if self._intake is not None:
            counted = self._intake.take(call.size)
            call.lease = redaction.Lease(
                message, call.size, partial(self._intake.give_back, counted)
            )
            redaction.lease.set(call.lease)
        call_context.current.set(call.context)
        response = await self._behaviour(call, message)
        return response.SerializeToString()

    def _decode(self, wire: bytes) -> Message:
        try:
            return self._request.FromString(wire)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a {self._request.DESCRIPTOR.full_name} message"
            ) from None

    def _failure(self, call: Call, error: Exception) -> tuple[grpc.StatusCode, str]:
        failure = translate(error, self._errors) or _unexpected(call, error)
        _forget_tracebacks(error)
        return failure.code, failure.message

    def _end(self, call: Call, began: float, code: grpc.StatusCode, level: int) -> None:
        seconds = time.perf_counter() - began
        if self._metrics is not None:
            self._metrics.record(call.rpc, code, seconds)
        if call.span is not None:
            call.span.end(code, call.fields)
        if log.isEnabledFor(level):
            milliseconds = round(seconds * 1000, 3)
            fields = {"rpc": call.rpc, "code": code.name, "duration_ms": milliseconds}
            log.log(level, "call", extra={"fields": fields | call.fields})


def _forget_tracebacks(error: BaseException) -> None:
    """Release the tracebacks, which keep the whole call alive if an SDK caches its exceptions."""
    chain: list[BaseException | None] = [error]
    seen = set()
    while chain:
        each = chain.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            chain += [each.__cause__, each.__context__]


async def _public(text: str) -> str:
    """Return a message without secrets, and within the maximum length.

    It is scrubbed before it is cut, because half a secret is hard to find.
    """
    return public_message(await _scrubbed(text))


async def _scrubbed(text: str) -> str:
    redactor = redaction.in_flight
    if redactor.is_quick(text):
        return redactor.scrub(text)
    scrubbed: str = await in_background(redactor.scrub, text)
    return scrubbed


def _unexpected(call: Call, error: Exception) -> DriverError:
    """Log an unmapped exception, and return the error that the caller may see (C45)."""
    incident = secrets.token_hex(4)
    log.error(
        "unexpected error",
        exc_info=error,
        extra={"fields": {"rpc": call.rpc, "incident": incident}},
    )
    return Internal(f"internal error in the driver; see incident {incident} in its log")
