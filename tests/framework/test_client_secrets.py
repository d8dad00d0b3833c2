"""The client and the kit show no secret that they send, even if the driver returns it."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from cmi.client import Client, connect
from cmi.endpoint import Endpoint, EndpointError
from cmi.v1 import cmi_pb2, cmi_pb2_grpc
from tests.framework.process import client, client_refusal
from tests.framework.support import machine_class

SECRET = "canary-of-the-client"
ENCODED = base64.b64encode(SECRET.encode()).decode()
MANIFESTS = f"""
kind: Secret
stringData: {{apiToken: {SECRET}, userData: "#!/bin/sh"}}
---
kind: MachineClass
providerSpec:
  region: north
  tags: {{kubernetes.io/cluster/one: "1", kubernetes.io/role/node: "1"}}
"""


class Identity(cmi_pb2_grpc.IdentityServicer):
    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return cmi_pb2.GetPluginInfoResponse(name="leaky.example", version="1")

    def GetPluginCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        rpc = cmi_pb2.PluginCapability.RPC
        kinds = (rpc.CREATE_MACHINE, rpc.DELETE_MACHINE)
        return cmi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                cmi_pb2.PluginCapability(rpc=cmi_pb2.PluginCapability.RPC(type=kind))
                for kind in kinds
            ]
        )


class Leaky(cmi_pb2_grpc.MachineServicer):
    """A driver in another language that returns secrets and control characters."""

    def CreateMachine(self, request: Any, context: Any) -> Any:  # noqa: N802
        told = request.Secrets["apiToken"].decode()
        if request.MachineName != "m1":
            context.abort(grpc.StatusCode.INTERNAL, f"refused {told} and {ENCODED}\x1b[2J")
        return cmi_pb2.CreateMachineResponse(
            ProviderID=f"x:///{told}", NodeName="n1\x1b[31m\r\nforged  line", LastKnownState=b"s"
        )

    def DeleteMachine(self, request: Any, context: Any) -> Any:  # noqa: N802
        return cmi_pb2.DeleteMachineResponse()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    cmi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)  # type: ignore[abstract]
    cmi_pb2_grpc.add_MachineServicer_to_server(Leaky(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"tcp://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def manifests(tmp_path: Path) -> tuple[str, str]:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFESTS)
    return f"--class={file}", f"--secret={file}"


@pytest.mark.parametrize("output", ["table", "json"])
def test_an_answer_shows_no_secret_and_obeys_no_terminal(
    endpoint: str, manifests: tuple[str, str], tmp_path: Path, output: str
) -> None:
    result = client(
        tmp_path, "create", "m1", *manifests, f"--endpoint={endpoint}", f"--output={output}"
    )
    assert result.returncode == 0, result
    assert "x:///***" in result.stdout
    assert SECRET not in result.stdout
    assert not {"\x1b", "\r"} & set(result.stdout)
    assert len(result.stdout.splitlines()) == (2 if output == "table" else 6)


def test_an_error_shows_no_secret(
    endpoint: str, manifests: tuple[str, str], tmp_path: Path
) -> None:
    line = client_refusal(tmp_path, "create", "m2", *manifests, f"--endpoint={endpoint}")
    assert line == "INTERNAL: refused *** and ***\\x1b[2J"


def test_the_report_of_the_kit_shows_no_secret(
    endpoint: str, manifests: tuple[str, str], tmp_path: Path
) -> None:
    junit = tmp_path / "junit.xml"
    result = client(
        tmp_path,
        "conformance",
        *manifests,
        "--items=C9,C10",
        f"--junit={junit}",
        f"--endpoint={endpoint}",
        "--patience=0",
    )
    assert result.returncode == 1, result
    told = result.stdout + result.stderr + junit.read_text()
    assert "refused ***" in told
    assert SECRET not in told
    assert ENCODED not in told


@pytest.mark.parametrize("address", ["192.0.2.1:8080", "no.such.host.invalid:8080"])
def test_secrets_are_not_sent_in_plain_text_beyond_loopback(
    manifests: tuple[str, str], tmp_path: Path, address: str
) -> None:
    for arguments in (("create", "m1", *manifests), ("conformance", *manifests)):
        line = client_refusal(tmp_path, *arguments, f"--endpoint=tcp://{address}")
        assert "plain text" in line
        assert "--insecure" in line


def test_the_flag_permits_it(manifests: tuple[str, str], tmp_path: Path) -> None:
    arguments = ("create", "m1", *manifests, "--endpoint=tcp://192.0.2.1:1", "--timeout=0.1")
    assert "plain text" not in client_refusal(tmp_path, "--insecure", *arguments)


def test_the_library_refuses_it_too() -> None:
    remote = Endpoint.parse("tcp://192.0.2.1:1")
    for attempt in (Client, connect):
        with pytest.raises(EndpointError, match="plain text"):
            attempt(remote)
    with connect(remote, insecure=True):
        pass


def test_the_machine_class_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(machine_class({"apiToken": SECRET.encode()}))
