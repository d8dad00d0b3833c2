"""OpenTelemetry traces: a span for each machine call, and one for each of its API requests.

This module is imported only if tracing is enabled, because OpenTelemetry is an optional extra.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc

from cmi.call_context import ApiRequest
from cmi.contract import MACHINE
from cmi.errors import StartupError

try:
    from opentelemetry import context, trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise StartupError(
        f"--tracing needs OpenTelemetry, which is not installed ({error}); "
        "run `make tracing`, or add the extra `tracing` to the dependencies"
    ) from None

_LAST_SPANS: Final = 1000
"""The time for sending spans at the end, in milliseconds; the collector may be unreachable."""


class Tracing:
    """Sends spans over OTLP, as the OTEL_* variables say.

    Args:
        service: The name of the service; OTEL_SERVICE_NAME overrides it.
        version: Its version.
    """

    def __init__(self, service: str, version: str) -> None:
        described = {"service.version": version}
        if "OTEL_SERVICE_NAME" not in os.environ:
            described["service.name"] = service
        self._provider = TracerProvider(resource=Resource.create(described), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("cmi")

    def begin(self, rpc: str, metadata: Iterable[tuple[str, str | bytes]]) -> "CallSpan":
        """Begin the span of a machine call, which continues its caller's trace.

        It becomes the current span in the call's context, so that spans of an SDK are its children.
        """
        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        span = self._tracer.start_span(
            f"{MACHINE.full_name}/{rpc}",
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": MACHINE.full_name, "rpc.method": rpc},
        )
        context.attach(trace.set_span_in_context(span))
        return CallSpan(self._tracer, span)

    def close(self) -> None:
        """Send the remaining spans, for at most a second."""
        self._provider.force_flush(_LAST_SPANS)


class CallSpan:
    """The span of one call."""

    def __init__(self, tracer: Any, span: Any) -> None:
        self._tracer = tracer
        self._span = span

    def add(self, request: ApiRequest) -> None:
        """Add the span of a finished request to the cloud."""
        child = self._tracer.start_span(
            request.service,
            context=trace.set_span_in_context(self._span),
            kind=trace.SpanKind.CLIENT,
            start_time=request.began,
            attributes={"request_id": request.id} if request.id else None,
        )
        if request.failed:
            child.set_status(trace.StatusCode.ERROR)
        child.end(request.began + round(request.seconds * 1e9))

    def end(self, code: grpc.StatusCode, fields: Mapping[str, object]) -> None:
        """End the span with the fields of the call's log line, which contain no secret."""
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        for name in ("machine", "provider_id"):
            if name in fields:
                self._span.set_attribute(name, str(fields[name]))
        if code is not grpc.StatusCode.OK:
            self._span.set_status(trace.StatusCode.ERROR, str(fields.get("detail", "")))
        self._span.end()
