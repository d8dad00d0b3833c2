"""The services in addition to CMI: health, and reflection for clients without stubs."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from cmi import StartupError
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.serving.server import Server
from cmi.testing import serving
from cmi.testing.serving import TEST_PLUGIN, background_loop
from tests.framework.support import SECRETS, SPEC, StandIn
from tests.support import PATIENCE, bytes_rpc, health_stub

SERVICES = ["cmi.v1.Identity", "cmi.v1.Machine"]


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_is_serving(service: str) -> None:
    with serving(StandIn()) as endpoint, grpc.insecure_channel(endpoint.target) as channel:
        wanted = health_pb2.HealthCheckRequest(service=service)
        answer = health_stub(channel).Check(wanted, timeout=PATIENCE)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_another_service_is_not_found() -> None:
    with serving(StandIn()) as endpoint, grpc.insecure_channel(endpoint.target) as channel:
        wanted = health_pb2.HealthCheckRequest(service="cmi.v1.Volume")
        with pytest.raises(grpc.RpcError) as caught:
            health_stub(channel).Check(wanted, timeout=PATIENCE)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services() -> None:
    with serving(StandIn()) as endpoint, grpc.insecure_channel(endpoint.target) as channel:
        found = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert set(SERVICES) | {"grpc.health.v1.Health"} <= set(found)


def test_a_client_that_knows_only_reflection_creates_a_machine() -> None:
    with serving(StandIn()) as endpoint, grpc.insecure_channel(endpoint.target) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName("cmi.v1.Machine").FindMethodByName("CreateMachine")
        request: Any = GetMessageClass(method.input_type)()
        request.MachineName = "m1"
        request.ProviderSpec = json.dumps(SPEC).encode()
        request.Secrets["apiToken"] = SECRETS["apiToken"]
        call = bytes_rpc(channel, f"/{method.containing_service.full_name}/{method.name}")
        answer = GetMessageClass(method.output_type).FromString(
            call(request.SerializeToString(), timeout=PATIENCE)
        )
        again = ParseDict(MessageToDict(request), GetMessageClass(method.input_type)())
    assert MessageToDict(answer) == {"ProviderID": "m1", "NodeName": "m1"}
    assert again == request


def test_reflection_shows_which_fields_are_secret() -> None:
    with serving(StandIn()) as endpoint, grpc.insecure_channel(endpoint.target) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        request = pool.FindMessageTypeByName("cmi.v1.CreateMachineRequest")
        secret = pool.FindExtensionByName("cmi.v1.cmi_secret")
        assert secret.number == 1059
        options = {field.name: str(field.GetOptions()) for field in request.fields}
    assert [name for name, text in options.items() if text] == ["Secrets"]


def test_a_server_that_was_not_started_can_be_stopped() -> None:
    with serving(StandIn()) as taken:
        for endpoint in (Endpoint.parse("tcp://127.0.0.1:0"), taken):
            options = ServerOptions(endpoint=endpoint)
            asyncio.run_coroutine_threadsafe(_fail_and_stop(options), background_loop()).result(
                PATIENCE
            )


async def _fail_and_stop(options: ServerOptions) -> None:
    server = Server(StandIn(), TEST_PLUGIN, options)
    if options.endpoint.port:
        with pytest.raises(StartupError, match="another process listens there"):
            await server.start()
    assert await server.stop()
