"""Drivers that are wrong on purpose. The docstring of each says what is wrong with it."""

import json
from collections import Counter
from typing import Any

import grpc

from cmi.v1 import cmi_pb2
from tests.conformance.saboteur import Context, Forward, Saboteur
from tests.support import status_of

Status = grpc.StatusCode
Capability = cmi_pb2.PluginCapability.RPC


def capability(kind: Capability.Type.ValueType) -> cmi_pb2.PluginCapability:
    return cmi_pb2.PluginCapability(rpc=Capability(type=kind))


# Identity


class MalformedName(Saboteur):
    """Its name contains a space."""

    breaks = ("C2",)

    def GetPluginInfo(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.name = "my driver"
        return answer


class NoVersion(Saboteur):
    """Its version is empty."""

    breaks = ("C3",)

    def GetPluginInfo(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.version = ""
        return answer


class ChangingCapabilities(Saboteur):
    """It announces one more capability at every second call."""

    breaks = ("C4",)
    _calls = 0

    def GetPluginCapabilities(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._calls += 1
        if self._calls % 2:
            answer.capabilities.append(capability(Capability.UNKNOWN))
        return answer


class ListsOnlyOnPaper(Saboteur):
    """It announces ListMachines but does not implement it."""

    breaks = ("C5",)

    def ListMachines(self, _request: Any, _forward: Forward, context: Context) -> Any:
        context.abort(Status.UNIMPLEMENTED, "ListMachines is not implemented")


class ListsInSecret(Saboteur):
    """It implements ListMachines but does not announce it."""

    breaks = ("C5",)

    def GetPluginCapabilities(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.capabilities.remove(capability(Capability.LIST_MACHINES))
        return answer


class NeverReady(Saboteur):
    """Its Probe always reports that the driver is still starting."""

    breaks = ("C6",)

    def Probe(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.ready.value = False
        return answer


class ServesNothing(Saboteur):
    """It serves neither of the two services."""

    breaks = ("C1", "C4", "C6")
    serves = ()


class ServesIdentityOnly(Saboteur):
    """It serves only Identity, as if Machine were at another address."""

    breaks = ("C1", "C5")
    serves = ("cmi.v1.Identity",)


class ImplementsNothing(Saboteur):
    """It announces everything, but implements none of the machine RPCs."""

    breaks = ("C5",)

    def CreateMachine(self, _request: Any, _forward: Forward, context: Context) -> Any:
        context.abort(Status.UNIMPLEMENTED, "to be done")

    DeleteMachine = GetMachineStatus = ListMachines = CreateMachine
    ShutDownMachine = GetVolumeIDs = CreateMachine


class NeverDeletes(Saboteur):
    """It does not implement DeleteMachine."""

    breaks = ("C5",)

    def DeleteMachine(self, _request: Any, _forward: Forward, context: Context) -> Any:
        context.abort(Status.UNIMPLEMENTED, "to be done")


# CreateMachine


class NamelessMachines(Saboteur):
    """It reports a missing machine name as an unknown error."""

    breaks = ("C7", "C41")

    def CreateMachine(self, request: Any, forward: Forward, context: Context) -> Any:
        if not request.MachineName:
            context.abort(Status.UNKNOWN, "something went wrong")
        return forward(request)


class OneErrorAtATime(Saboteur):
    """It names only the first offending field."""

    breaks = ("C8",)

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        context.abort(code, message.partition(";")[0])


class StatusKnowsTheScopeOnly(Saboteur):
    """Its GetMachineStatus does not report the fields that CreateMachine will refuse."""

    breaks = ("C8",)

    def GetMachineStatus(self, request: Any, forward: Forward, context: Context) -> Any:
        if request.ProviderSpec == b"{}":
            context.abort(Status.INVALID_ARGUMENT, "providerSpec.tags: is missing")
        return forward(request)


class NewIdEveryTime(Saboteur):
    """It answers a repeated call with a different provider ID."""

    breaks = ("C10",)

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._calls: Counter[str] = Counter()

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._calls[request.MachineName] += 1
        if (calls := self._calls[request.MachineName]) > 1:
            answer.ProviderID += f"-{calls}"
        return answer


class SecondVm(Saboteur):
    """It makes another VM at every call, which only its list shows."""

    breaks = ("C12", "C14")

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._calls: Counter[str] = Counter()

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._calls[request.MachineName] += 1
        return answer

    def ListMachines(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        for provider_id, name in list(answer.MachineList.items()):
            for call in range(1, self._calls[name]):
                answer.MachineList[f"{provider_id}-{call}"] = name
        return answer


class BlindToChanges(Saboteur):
    """It does not notice that a repeated call has a different spec."""

    breaks = ("C11",)

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        try:
            return forward(request)
        except grpc.RpcError as error:
            if status_of(error)[0] is not Status.ALREADY_EXISTS:
                raise
            return cmi_pb2.CreateMachineResponse(ProviderID="some:///id", NodeName="some")


class AnyLength(Saboteur):
    """It accepts names of any length."""

    breaks = ("C47",)

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        request.MachineName = request.MachineName[:100]
        return forward(request)


class Unavailable(Saboteur):
    """It answers UNAVAILABLE while another call works on the same machine."""

    breaks = ("C57",)

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        context.abort(Status.UNAVAILABLE if code is Status.ABORTED else code, message)


# DeleteMachine


class NothingToDelete(Saboteur):
    """It fails if the machine to delete does not exist."""

    breaks = ("C17", "C18")

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._there: set[str] = set()

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        self._there.add(request.MachineName)
        return forward(request)

    def DeleteMachine(self, request: Any, forward: Forward, context: Context) -> Any:
        answer = forward(request)
        if request.MachineName not in self._there:
            context.abort(Status.NOT_FOUND, f"there is no machine {request.MachineName}")
        self._there.remove(request.MachineName)
        return answer


class RememberingSpecs(Saboteur):
    """Remembers the spec that each machine was made from. Only subclasses do something wrong."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._specs: dict[str, bytes] = {}

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._specs[request.MachineName] = self._specs[answer.ProviderID] = request.ProviderSpec
        return answer

    def of_any_cluster(self, request: Any) -> Any:
        """Return the request, changed to the spec of the cluster that the machine belongs to."""
        for key in (request.ProviderID, request.MachineName):
            request.ProviderSpec = self._specs.get(key, request.ProviderSpec)
        return request


class DeletesAnywhere(RememberingSpecs):
    """It deletes the VM of another cluster."""

    breaks = ("C19",)

    def DeleteMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        return forward(self.of_any_cluster(request))


class Undead(Saboteur):
    """It still reports a machine after its deletion."""

    breaks = ("C22",)

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._made: dict[tuple[str, bytes], Any] = {}

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = self._made[request.MachineName, request.ProviderSpec] = forward(request)
        return answer

    def GetMachineStatus(self, request: Any, forward: Forward, _context: Context) -> Any:
        try:
            return forward(request)
        except grpc.RpcError as error:
            made = self._made.get((request.MachineName, request.ProviderSpec))
            if made is None or status_of(error)[0] is not Status.NOT_FOUND:
                raise
            return cmi_pb2.GetMachineStatusResponse(
                ProviderID=made.ProviderID, NodeName=made.NodeName
            )


# GetMachineStatus


class AnotherNode(Saboteur):
    """Its status contains a different node name than the response of CreateMachine."""

    breaks = ("C23",)

    def GetMachineStatus(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.NodeName += ".local"
        return answer


class SeesEverywhere(RememberingSpecs):
    """Its status reports the VM of another cluster."""

    breaks = ("C26",)

    def GetMachineStatus(self, request: Any, forward: Forward, _context: Context) -> Any:
        return forward(self.of_any_cluster(request))


# ListMachines


class ListsEverything(Saboteur):
    """It lists the machines of all clusters."""

    breaks = ("C29", "C32")

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._there: dict[str, str] = {}

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        self._there[request.MachineName] = answer.ProviderID
        return answer

    def DeleteMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        if "conformance" not in scope_of(request) or not request.ProviderID:
            self._there.pop(request.MachineName, None)
        return answer

    def ListMachines(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        answer.MachineList.update({key: name for name, key in self._there.items()})
        return answer


class ListsWithoutTags(Saboteur):
    """If the tags of a cluster are missing, it lists something instead of refusing the call."""

    breaks = ("C33",)

    def ListMachines(self, request: Any, forward: Forward, _context: Context) -> Any:
        try:
            return forward(request)
        except grpc.RpcError:
            return cmi_pb2.ListMachinesResponse(MachineList={"some:///id": "somebody's"})


class ListsTwo(Saboteur):
    """It reads only the first page of the cloud's list."""

    breaks = ("C31",)

    def ListMachines(self, request: Any, forward: Forward, _context: Context) -> Any:
        page = list(forward(request).MachineList.items())[:2]
        return cmi_pb2.ListMachinesResponse(MachineList=dict(page))


class NamelessEntries(Saboteur):
    """The names in its list are empty."""

    breaks = ("C12", "C14", "C29", "C30")

    def ListMachines(self, request: Any, forward: Forward, _context: Context) -> Any:
        ids = forward(request).MachineList
        return cmi_pb2.ListMachinesResponse(MachineList=dict.fromkeys(ids, ""))


# ShutDownMachine and GetVolumeIDs


class ShutsDownNothing(Saboteur):
    """It reports success if the machine to shut down does not exist."""

    breaks = ("C34", "C35")

    def ShutDownMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        try:
            return forward(request)
        except grpc.RpcError as error:
            if status_of(error)[0] is not Status.NOT_FOUND:
                raise
            return cmi_pb2.ShutDownMachineResponse()


class EveryVolume(Saboteur):
    """It returns volumes of other providers as its own."""

    breaks = ("C37",)

    def GetVolumeIDs(self, request: Any, forward: Forward, _context: Context) -> Any:
        answer = forward(request)
        volumes = json.loads(request.PVSpecList)
        handles = [volume["csi"]["volumeHandle"] for volume in volumes if "csi" in volume]
        return cmi_pb2.GetVolumeIDsResponse(VolumeIDs={*answer.VolumeIDs, *handles})


class CsiOnly(Saboteur):
    """It does not recognise in-tree volumes."""

    breaks = ("C38",)

    def GetVolumeIDs(self, request: Any, forward: Forward, _context: Context) -> Any:
        forward(request)
        volumes = [volume for volume in json.loads(request.PVSpecList) if "csi" in volume]
        return forward(cmi_pb2.GetVolumeIDsRequest(PVSpecList=json.dumps(volumes).encode()))


# Statuses


class EmptyMessages(Saboteur):
    """The messages of its errors are empty."""

    breaks = ("C8", "C42", "C49")

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        context.abort(code, "")


class StatusDetails(Saboteur):
    """Its errors contain status details."""

    breaks = ("C43",)

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x03"),))
        context.abort(code, message)


class WrongCredentialsAreInvalid(Saboteur):
    """It reports wrong credentials as an invalid argument."""

    breaks = ("C44",)

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        context.abort(Status.INVALID_ARGUMENT if code is Status.UNAUTHENTICATED else code, message)


class SecretInErrors(Saboteur):
    """Its errors quote the request, secrets included."""

    breaks = ("C50",)

    def fail(self, context: Context, request: Any, code: Status, message: str) -> None:
        quoted = {key: value.decode() for key, value in getattr(request, "Secrets", {}).items()}
        context.abort(code, f"{message}; the request had {quoted}")


class AnyKey(Saboteur):
    """It accepts secret keys that no Kubernetes Secret can have."""

    breaks = ("C48",)

    def CreateMachine(self, request: Any, forward: Forward, _context: Context) -> Any:
        for key in [key for key in request.Secrets if not key.isalnum() or not key.isascii()]:
            del request.Secrets[key]
        return forward(request)


def scope_of(request: Any) -> str:
    tags: dict[str, str] = json.loads(request.ProviderSpec).get("tags", {})
    return " ".join(tags)
