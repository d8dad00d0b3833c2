"""A client for any CMI driver, in any language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from cmi.contract import RPC_BY_NAME
from cmi.endpoint import Endpoint, EndpointError
from cmi.tls import TlsFiles, channel_credentials
from cmi.v1 import cmi_pb2, cmi_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineClass:
    """The values that every call about a machine carries.

    Attributes:
        provider_spec: A JSON object.
        secrets: The data of a Secret; not shown by `repr`.
    """

    provider_spec: bytes = b"{}"
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def machine_request(
    rpc: str,
    machine_class: MachineClass,
    name: str = "",
    provider_id: str = "",
    last_known_state: str = "",
) -> Any:
    """Return the request of the machine RPC, with the given values that are fields of it."""
    values = {
        "MachineName": name,
        "ProviderSpec": machine_class.provider_spec,
        "Secrets": machine_class.secrets,
        "ProviderID": provider_id,
        "LastKnownState": last_known_state.encode(),
    }
    row = RPC_BY_NAME[rpc]
    present = {key: value for key, value in values.items() if key in row.request_fields}
    return row.request_type(**present)


def connect(
    endpoint: Endpoint, tls: TlsFiles | None = None, *, insecure: bool = False
) -> grpc.Channel:
    """Return a channel to the driver at `endpoint`; it connects with its first call.

    Args:
        endpoint: Where the driver listens.
        tls: The files for TLS; None means plain text.
        insecure: Allow plain text to an address that is not a loopback address.

    Raises:
        TlsError: The files for TLS are invalid.
        EndpointError: The call would carry secrets over the network in plain text.
    """
    if tls is None and not insecure and not endpoint.is_local:
        raise EndpointError(
            f"{endpoint} is not a loopback address, so secrets would go there in plain text; add "
            "--tls-ca, --tls-cert and --tls-key, or --insecure"
        )
    # A proxy in the environment is meant for external addresses. The list of a large cluster is
    # longer than the 4 MiB that gRPC accepts by default.
    options: list[tuple[str, int | str]] = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    if tls is None:
        return grpc.insecure_channel(endpoint.target, options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(endpoint.target, channel_credentials(tls), options)


class Client:
    """Calls one driver. Use it as a context manager, or `close` it.

    Every method raises `grpc.RpcError` if the driver answers with a status other than OK.

    Args:
        endpoint: Where the driver listens.
        timeout: The deadline of a call, in seconds.
        tls: The files for TLS; None means plain text.
        insecure: Allow plain text to an address that is not a loopback address.

    Raises:
        TlsError: The files for TLS are invalid.
        EndpointError: The calls would carry secrets over the network in plain text.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout: float = 300.0,
        tls: TlsFiles | None = None,
        *,
        insecure: bool = False,
    ) -> None:
        self._channel = connect(endpoint, tls, insecure=insecure)
        self._identity = cmi_pb2_grpc.IdentityStub(self._channel)
        self._machine = cmi_pb2_grpc.MachineStub(self._channel)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def info(self) -> cmi_pb2.GetPluginInfoResponse:
        """Ask for the driver's name and version."""
        return self._identity.GetPluginInfo(cmi_pb2.GetPluginInfoRequest(), timeout=self._timeout)

    def capabilities(self) -> list[str]:
        """Ask for the driver's capabilities, such as CREATE_MACHINE."""
        answer = self._identity.GetPluginCapabilities(
            cmi_pb2.GetPluginCapabilitiesRequest(), timeout=self._timeout
        )
        name = cmi_pb2.PluginCapability.RPC.Type.Name
        return [name(capability.rpc.type) for capability in answer.capabilities]

    def probe(self) -> bool:
        """Return whether the driver is ready; an answer without a value also means yes (C6)."""
        answer = self._identity.Probe(cmi_pb2.ProbeRequest(), timeout=self._timeout)
        return not answer.HasField("ready") or answer.ready.value

    def create(
        self, machine_class: MachineClass, name: str, last_known_state: str = ""
    ) -> cmi_pb2.CreateMachineResponse:
        """Create a machine."""
        request = machine_request(
            "CreateMachine", machine_class, name, last_known_state=last_known_state
        )
        return self._machine.CreateMachine(request, timeout=self._timeout)

    def initialize(
        self, machine_class: MachineClass, name: str, provider_id: str = ""
    ) -> cmi_pb2.InitializeMachineResponse:
        """Do the remaining steps for a created machine."""
        request = machine_request("InitializeMachine", machine_class, name, provider_id)
        return self._machine.InitializeMachine(request, timeout=self._timeout)

    def status(
        self, machine_class: MachineClass, name: str, provider_id: str = ""
    ) -> cmi_pb2.GetMachineStatusResponse:
        """Ask for a machine's provider ID and node name."""
        request = machine_request("GetMachineStatus", machine_class, name, provider_id)
        return self._machine.GetMachineStatus(request, timeout=self._timeout)

    def list_machines(self, machine_class: MachineClass) -> dict[str, str]:
        """List the machines of the class's cluster and role: provider ID to name."""
        request = machine_request("ListMachines", machine_class)
        return dict(self._machine.ListMachines(request, timeout=self._timeout).MachineList)

    def shut_down(
        self,
        machine_class: MachineClass,
        name: str,
        provider_id: str = "",
        last_known_state: str = "",
    ) -> cmi_pb2.ShutDownMachineResponse:
        """Stop a machine."""
        request = machine_request(
            "ShutDownMachine", machine_class, name, provider_id, last_known_state
        )
        return self._machine.ShutDownMachine(request, timeout=self._timeout)

    def delete(
        self,
        machine_class: MachineClass,
        name: str,
        provider_id: str = "",
        last_known_state: str = "",
    ) -> cmi_pb2.DeleteMachineResponse:
        """Delete a machine."""
        request = machine_request(
            "DeleteMachine", machine_class, name, provider_id, last_known_state
        )
        return self._machine.DeleteMachine(request, timeout=self._timeout)

    def volume_ids(self, volume_specs: bytes) -> list[str]:
        """Return the IDs of the volumes in a JSON list that are in the driver's cloud."""
        request = cmi_pb2.GetVolumeIDsRequest(PVSpecList=volume_specs)
        return [*self._machine.GetVolumeIDs(request, timeout=self._timeout).VolumeIDs]
