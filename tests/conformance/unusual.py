"""Drivers that are correct in an unusual way, which the docstring of each describes."""

from collections import Counter
from typing import Any

import grpc

from cmi.v1 import cmi_pb2
from tests.conformance.saboteur import Context, Forward, Saboteur

Capability = cmi_pb2.PluginCapability.RPC
_UNTIL_READY = 3


class UnavailableUntilReady(Saboteur):
    """Its CreateMachine starts a VM, and answers UNAVAILABLE until the VM is ready."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._calls: Counter[tuple[str, bytes]] = Counter()

    def CreateMachine(self, request: Any, forward: Forward, context: Context) -> Any:
        answer = forward(request)
        machine = request.MachineName, request.ProviderSpec
        self._calls[machine] += 1
        if self._calls[machine] < _UNTIL_READY:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the VM is not ready yet")
        return answer


class UnavailableWhileGoing(Saboteur):
    """Its DeleteMachine starts the deletion, and answers UNAVAILABLE until the VM is gone."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._there: Counter[str] = Counter()

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._there[request.MachineName] = self._there[answer.ProviderID] = _UNTIL_READY
        return answer

    def DeleteMachine(self, request: Any, forward: Forward, context: Context) -> Any:
        forward(request)  # this refuses invalid requests
        key = request.ProviderID or request.MachineName
        self._there[key] -= 1
        if self._there[key] > 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the VM is still going")
        return forward(request)


class SilentlyReady(Saboteur):
    """Its Probe leaves `ready` out, which means that the driver is ready."""

    def Probe(self, request: Any, forward: Forward, _context: Context) -> Any:
        forward(request)
        return cmi_pb2.ProbeResponse()


class MandatoryOnly(Saboteur):
    """It implements only the two RPCs that every driver must have."""

    def GetPluginCapabilities(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        mandatory = (Capability.CREATE_MACHINE, Capability.DELETE_MACHINE)
        kept = [each for each in answer.capabilities if each.rpc.type in mandatory]
        return cmi_pb2.GetPluginCapabilitiesResponse(capabilities=kept)

    def GetMachineStatus(self, _request: Any, _forward: Forward, context: Context) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this driver does not have it")

    ListMachines = ShutDownMachine = GetVolumeIDs = InitializeMachine = GetMachineStatus
