"""Tracing: what a collector receives, and that OpenTelemetry is optional."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from cmi.client import Client, connect, machine_request
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.v1 import cmi_pb2_grpc
from tests.framework import process
from tests.framework.support import IDENTITY_RPCS, StandIn, ask, machine_class, request
from tests.framework.test_extensions import Calling
from tests.support import PATIENCE, ROOT, await_condition

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Accepts spans in the way OpenTelemetry's collector does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.resources: list[dict[str, str]] = []
        self.spans: list[Any] = []

    def Export(self, request: Any, context: object) -> Any:  # noqa: N802 - of the service
        with self._lock:
            for each in request.resource_spans:
                pairs = {pair.key: pair.value.string_value for pair in each.resource.attributes}
                self.resources.append(pairs)
                self.spans += [span for scope in each.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    server.start()
    yield collector
    server.stop(None).wait(PATIENCE)


def options() -> ServerOptions:
    return ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), tracing=True, grace_period=1)


def attributes(span: Any) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def printed(code: str) -> str:
    """Run code in a new Python process; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "template")}
    return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)


def test_a_span_for_each_call_and_each_of_its_requests(collector: Collector) -> None:
    with process.served(Calling(), options()) as (_, endpoint):
        with connect(endpoint) as channel:
            cmi_pb2_grpc.MachineStub(channel).CreateMachine(
                machine_request("CreateMachine", machine_class(), "m1"),
                metadata=(("traceparent", f"00-{TRACE}-{PARENT}-01"),),
                timeout=PATIENCE,
            )
        await_condition(lambda: len(collector.spans) == 5)
    by_name = {span.name: span for span in collector.spans}
    call = by_name.pop("cmi.v1.Machine/CreateMachine")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(call)["machine"] == "m1"
    assert attributes(call)["rpc.grpc.status_code"] == 0
    assert by_name.keys() == {"get_server", "list_servers", "by_hand"}
    for span in by_name.values():
        assert (span.trace_id, span.parent_span_id) == (call.trace_id, call.span_id)
        assert call.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    assert attributes(by_name["by_hand"])["request_id"] == "req-by-hand"
    assert {each["service.name"] for each in collector.resources} == {"driver.under-test"}


def test_a_failure_is_reported_without_secrets(collector: Collector) -> None:
    with process.served(Calling(), options()) as (_, endpoint):
        answer = ask(endpoint, "CreateMachine", request("CreateMachine", MachineName="missing"))
        assert answer.code == "INTERNAL"
        await_condition(lambda: len(collector.spans) == 5)
    call, failed = (
        next(span for span in collector.spans if attributes(span).get(key) == value)
        for key, value in (("machine", "missing"), ("request_id", "req-of-a-failure"))
    )
    assert attributes(call)["rpc.grpc.status_code"] == 13
    assert call.status.code == failed.status.code == 2
    assert call.status.message == answer.message
    assert "correct-horse" not in str(collector.spans)


def test_calls_of_identity_have_none(collector: Collector) -> None:
    """There are no spans for Identity, because probes would fill the traces."""
    with process.served(StandIn(), options()) as (_, endpoint), Client(endpoint) as client:
        for rpc in IDENTITY_RPCS:
            assert ask(endpoint, rpc, b"").code == "OK"
        client.list_machines(machine_class())
        await_condition(lambda: len(collector.spans) > 0)
    assert [span.name for span in collector.spans] == ["cmi.v1.Machine/ListMachines"]


def test_the_last_spans_are_sent_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    with process.served(StandIn(), options()) as (_, endpoint), Client(endpoint) as client:
        client.list_machines(machine_class())
        assert collector.spans == []
    assert len(collector.spans) == 1


def test_opentelemetry_is_loaded_only_for_tracing() -> None:
    code = "import sys, cmi.serving.server; print('opentelemetry' in sys.modules)"
    assert printed(code) == "False\n"


def test_tracing_without_opentelemetry_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from cmi.errors import StartupError\n"
        "try: import cmi.serving.tracing\n"
        "except StartupError as error: print(error)"
    )
    assert "run `make tracing`" in printed(code)
