"""The requests that a driver's methods take, and the responses that they return.

The annotation of a method determines what the framework validates before it calls the method::

    def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse: ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic

from cmi.spec import SecretsT, SpecT


class AddressType(StrEnum):
    """The type of a node's address, as Kubernetes names it."""

    HOSTNAME = "Hostname"
    INTERNAL_IP = "InternalIP"
    EXTERNAL_IP = "ExternalIP"
    INTERNAL_DNS = "InternalDNS"
    EXTERNAL_DNS = "ExternalDNS"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """An address of a VM, as in the status of a Kubernetes node."""

    type: AddressType
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMachineRequest(Generic[SpecT, SecretsT]):
    """Create a machine's VM, or continue with the VM of an earlier call (C10, C15).

    Attributes:
        machine_name: Non-empty, at most 128 bytes. Maps to one VM (C12).
        provider_spec: The validated spec of the machine class.
        secrets: The validated data of the machine class's Secret.
        last_known_state: The state that the driver returned last for this machine, or empty (C16).
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    last_known_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMachineResponse:
    """The VM exists.

    Attributes:
        provider_id: Its provider ID, as in node.spec.providerID; 1 to 128 bytes (C9).
        node_name: The name under which it registers as a node; 1 to 128 bytes (C9).
        last_known_state: A text that MCM passes to the next call for this machine; may be empty.
        addresses: The VM's addresses. MCM shows them on a Machine without a target cluster.
    """

    provider_id: str
    node_name: str
    last_known_state: str = ""
    addresses: Sequence[NodeAddress] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeMachineRequest(Generic[SpecT, SecretsT]):
    """Do the steps that need an existing VM; OK if they are already done (C59).

    MCM calls it after CreateMachine, and whenever GetMachineStatus reports `uninitialized`.

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: The validated spec of the machine class.
        secrets: The validated data of the machine class's Secret.
        provider_id: The ID that the driver returned. If it is empty, look the VM up by name.
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    provider_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeMachineResponse:
    """The VM is initialized. The attributes are those of `CreateMachineResponse`."""

    provider_id: str
    node_name: str
    addresses: Sequence[NodeAddress] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteMachineRequest(Generic[SpecT, SecretsT]):
    """Delete a machine's VM and everything that belongs to it; OK if nothing exists (C17, C22).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only the fields needed to find the VM. If the provider ID contains, for
            example, a region, the spec has that region.
        secrets: Only the keys needed to log in.
        provider_id: The ID that the driver returned. If it is empty, look the VM up by name (C20).
        last_known_state: The state that the driver returned last for this machine, or empty.
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    provider_id: str = ""
    last_known_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteMachineResponse:
    """The VM is gone."""

    last_known_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMachineStatusRequest(Generic[SpecT, SecretsT]):
    """Report whether the machine's VM exists, without changing anything (C27).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only the fields needed to find the VM. If the provider ID contains, for
            example, a region, the spec has that region.
        secrets: Only the keys needed to log in.
        provider_id: The ID that the driver returned. If it is empty, look the VM up by name.
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    provider_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMachineStatusResponse:
    """The same values as in the response of CreateMachine (C23).

    Attributes:
        provider_id: Its provider ID.
        node_name: The name under which it registers as a node.
        addresses: The VM's addresses.
        uninitialized: Whether InitializeMachine still has work to do (C59). Only a driver that
            has `initialize_machine` may set it.
    """

    provider_id: str
    node_name: str
    addresses: Sequence[NodeAddress] = ()
    uninitialized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMachinesRequest(Generic[SpecT, SecretsT]):
    """List every VM of the spec's cluster and role, and no other (C29).

    MCM deletes a listed VM that has no Machine.
    """

    provider_spec: SpecT
    secrets: SecretsT


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMachinesResponse:
    """The machines that were found.

    Attributes:
        machines: Machine names by provider ID; complete (C31), possibly empty (C32).
        left_out: The number of VMs that can't be listed because their machine is unknown, for
            the metrics.
    """

    machines: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownMachineRequest(Generic[SpecT, SecretsT]):
    """Stop the machine's VM without deleting it; OK if it is already stopped (C34).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only the fields needed to find the VM. If the provider ID contains, for
            example, a region, the spec has that region.
        secrets: Only the keys needed to log in.
        provider_id: The ID that the driver returned. If it is empty, look the VM up by name.
        last_known_state: The state that the driver returned last for this machine, or empty.
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    provider_id: str = ""
    last_known_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownMachineResponse:
    """The VM is stopped."""

    last_known_state: str = ""


@dataclass(frozen=True, slots=True)
class PersistentVolumeSpec:
    """A Kubernetes PersistentVolumeSpec, as the JSON object in the request."""

    fields: Mapping[str, Any]

    def csi_handle(self, driver: str) -> str | None:
        """Return the volume's ID if it is a CSI volume of `driver`, else None."""
        csi = self.source("csi")
        if csi is None or csi.get("driver") != driver:
            return None
        handle = csi.get("volumeHandle")
        return handle if isinstance(handle, str) and handle else None

    def source(self, key: str) -> Mapping[str, Any] | None:
        """Return the volume source under `key` (`csi`, `flexVolume`, …), or None."""
        value = self.fields.get(key)
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolumeIDsRequest:
    """Return the provider's IDs of the volumes in its cloud; skip all others (C37)."""

    volumes: Sequence[PersistentVolumeSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolumeIDsResponse:
    """The provider's IDs of the volumes."""

    volume_ids: Sequence[str] = ()
