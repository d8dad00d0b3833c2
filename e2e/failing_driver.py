"""A driver of CMI that fails as the names of its machines say: `python -m e2e.failing_driver`.

The machine `create-not-found` gets NOT_FOUND from CreateMachine, and so on. It uses nothing of the
framework, which would answer for it. Each call is an event on standard error.
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
"""What MCM is told with the first error of CreateMachine, and may keep with the second."""


def machine(failing: str, code: str) -> str:
    """Return the name of a machine for which a step fails with a code."""
    return f"{failing}-{code.lower().replace('_', '-')}"


def message(failing: str, code: str) -> str:
    """Return what the driver says of it."""
    return f"the answer of {machine(failing, code)}"


class Identity(cmi_pb2_grpc.IdentityServicer):
    """Announces all that there is."""

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
    """Keeps in memory which machines it has made."""

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
        if name.startswith("status"):  # MCM asks for its status once it is deleted
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
    os.write(sys.stderr.fileno(), f"{json.dumps(event)}\n".encode())  # whole lines of all threads


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
