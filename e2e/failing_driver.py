"""A CMI driver that fails as the names of its machines say: `python -m e2e.failing_driver`.

For example, CreateMachine for the machine `create-not-found` returns NOT_FOUND. The driver does not
use the framework, which would give other answers. It logs each call on standard error.
"""

import json
import os
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from cmi.v1 import cmi_pb2 as pb
from cmi.v1 import cmi_pb2_grpc

STATE = "an order from before"
"""The last known state in the first error of CreateMachine. MCM may keep it at the second."""


def machine(failing: str, code: str) -> str:
    """Return the name of a machine for which a step fails with a code."""
    return f"{failing}-{code.lower().replace('_', '-')}"


def message(failing: str, code: str) -> str:
    """Return the message of the driver's error for that machine."""
    return f"the answer of {machine(failing, code)}"


class Identity(cmi_pb2_grpc.IdentityServicer):
    """Announces all capabilities."""

    def GetPluginInfo(self, _request: object, context: grpc.ServicerContext) -> Any:  # noqa: N802
        _log("GetPluginInfo", context)
        return pb.GetPluginInfoResponse(name="acme.gardener", version="1.0.0")

    def GetPluginCapabilities(  # noqa: N802
        self, _request: object, context: grpc.ServicerContext
    ) -> Any:
        _log("GetPluginCapabilities", context)
        types = [kind for kind in pb.PluginCapability.RPC.Type.values() if kind]
        return pb.GetPluginCapabilitiesResponse(
            capabilities=[
                pb.PluginCapability(rpc=pb.PluginCapability.RPC(type=kind)) for kind in types
            ]
        )

    def Probe(self, _request: object, context: grpc.ServicerContext) -> Any:  # noqa: N802
        _log("Probe", context)
        return pb.ProbeResponse(ready=BoolValue(value=True))


class Machines(cmi_pb2_grpc.MachineServicer):
    """Remembers the machines that it has created."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._called: defaultdict[str, int] = defaultdict(int)

    def CreateMachine(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        name = request.MachineName
        _log("CreateMachine", context, name)
        self._called[name] += 1
        if name.startswith("create") and self._called[name] == 1:
            context.set_trailing_metadata((("cmi-last-known-state-bin", STATE.encode()),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "the first error")
        _fail_if_named("create", name, context)
        if name.startswith("status"):  # MCM asks for the status when the machine is deleted
            context.abort(grpc.StatusCode.UNAVAILABLE, "it is never made")
        self._made.add(name)
        return pb.CreateMachineResponse(ProviderID=f"acme:///{name}", NodeName=name)

    def InitializeMachine(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        name = request.MachineName
        _log("InitializeMachine", context, name)
        _fail_if_named("initialize", name, context)
        return pb.InitializeMachineResponse(ProviderID=f"acme:///{name}", NodeName=name)

    def GetMachineStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        name = request.MachineName
        _log("GetMachineStatus", context, name)
        _fail_if_named("status", name, context)
        if name not in self._made:
            context.abort(grpc.StatusCode.NOT_FOUND, "it is not made yet")
        fails = name.startswith("initialize") and name != machine("initialize", "UNIMPLEMENTED")
        return pb.GetMachineStatusResponse(
            ProviderID=f"acme:///{name}", NodeName=name, Uninitialized=fails
        )

    def DeleteMachine(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        name = request.MachineName
        _log("DeleteMachine", context, name)
        _fail_if_named("delete", name, context)
        self._made.discard(name)
        return pb.DeleteMachineResponse()

    def ListMachines(self, _request: object, context: grpc.ServicerContext) -> Any:  # noqa: N802
        _log("ListMachines", context)
        return pb.ListMachinesResponse()

    def ShutDownMachine(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        _log("ShutDownMachine", context, request.MachineName)
        return pb.ShutDownMachineResponse()

    def GetVolumeIDs(self, _request: object, context: grpc.ServicerContext) -> Any:  # noqa: N802
        _log("GetVolumeIDs", context)
        return pb.GetVolumeIDsResponse()


def _fail_if_named(failing: str, name: str, context: grpc.ServicerContext) -> None:
    step, _, code = name.partition("-")
    if step == failing:
        code = code.upper().replace("-", "_")
        context.abort(grpc.StatusCode[code], message(failing, code))


def _log(rpc: str, context: grpc.ServicerContext, machine_name: str = "") -> None:
    _write({"message": "call", "rpc": rpc, "peer": context.peer(), "machine": machine_name})


def _write(event: object) -> None:
    # A single write keeps the lines of several threads apart.
    os.write(sys.stderr.fileno(), f"{json.dumps(event)}\n".encode())


def main() -> None:
    """Serve on the address that is given as `--endpoint=tcp://HOST:PORT`, until killed."""
    (endpoint,) = (each for each in sys.argv if each.startswith("--endpoint="))
    address = endpoint.partition("tcp://")[2]
    server = grpc.server(ThreadPoolExecutor(100))
    cmi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)
    cmi_pb2_grpc.add_MachineServicer_to_server(Machines(), server)
    server.add_insecure_port(address)
    server.start()
    _write({"message": "serving", "endpoint": f"tcp://{address}"})
    server.wait_for_termination()


if __name__ == "__main__":
    main()
