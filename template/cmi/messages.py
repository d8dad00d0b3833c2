"""What the methods of a driver take and return.

A method says by its annotation what the framework is to validate before it calls it::

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
    """What an address of a node is, as Kubernetes calls it."""

    HOSTNAME = "Hostname"
    INTERNAL_IP = "InternalIP"
    EXTERNAL_IP = "ExternalIP"
    INTERNAL_DNS = "InternalDNS"
    EXTERNAL_DNS = "ExternalDNS"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a VM can be reached, as in the status of a Kubernetes node."""

    type: AddressType
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMachineRequest(Generic[SpecT, SecretsT]):
    """Make the VM of a machine, or go on with the one of an earlier try (C10, C15).

    Attributes:
        machine_name: Non-empty, at most 128 bytes. Maps to one VM (C12).
        provider_spec: The validated spec of the machine class.
        secrets: The validated data of the machine class's Secret.
        last_known_state: What the driver answered last for this machine, or empty (C16).
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    last_known_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMachineResponse:
    """The VM is there.

    Attributes:
        provider_id: Its ID at the provider, as in node.spec.providerID; 1 to 128 bytes (C9).
        node_name: The name it registers under as a node; 1 to 128 bytes (C9).
        last_known_state: Handed back with the next call for this machine; may be empty.
        addresses: Where it can be reached. MCM shows them on a Machine without a target cluster.
    """

    provider_id: str
    node_name: str
    last_known_state: str = ""
    addresses: Sequence[NodeAddress] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeMachineRequest(Generic[SpecT, SecretsT]):
    """Do what can only be done once the VM is there; OK if it is done already (C59).

    MCM calls it after CreateMachine, and whenever GetMachineStatus says `uninitialized`.

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: The validated spec of the machine class.
        secrets: The validated data of the machine class's Secret.
        provider_id: As the driver answered it, or empty: then look the VM up by name.
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
    """Remove a machine's VM and all that belongs to it; OK if nothing is there (C17, C22).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only what is needed to find the VM: in the region, for example, that the
            provider ID names, if it names one.
        secrets: Only what is needed to log in.
        provider_id: As the driver answered it, or empty: then look the VM up by name (C20).
        last_known_state: What the driver answered last for this machine, or empty.
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
    """Tell whether the machine's VM exists. Changes nothing (C27).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only what is needed to find the VM: in the region, for example, that the
            provider ID names, if it names one.
        secrets: Only what is needed to log in.
        provider_id: As the driver answered it, or empty: then look the VM up by name.
    """

    machine_name: str
    provider_spec: SpecT
    secrets: SecretsT
    provider_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMachineStatusResponse:
    """The same as CreateMachine answered (C23).

    Attributes:
        provider_id: Its ID at the provider.
        node_name: The name it registers under as a node.
        addresses: Where it can be reached.
        uninitialized: InitializeMachine is still to be called, or has not done all (C59). Only
            a driver that has `initialize_machine` may say so.
    """

    provider_id: str
    node_name: str
    addresses: Sequence[NodeAddress] = ()
    uninitialized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMachinesRequest(Generic[SpecT, SecretsT]):
    """List every VM of the spec's cluster and role, and no other (C29).

    MCM deletes a listed VM that it has no Machine for.
    """

    provider_spec: SpecT
    secrets: SecretsT


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMachinesResponse:
    """The machines that were found.

    Attributes:
        machines: Machine names by provider ID; complete (C31), perhaps empty (C32).
        left_out: How many VMs can't be listed, since their machine can't be told; a metric
            counts them.
    """

    machines: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownMachineRequest(Generic[SpecT, SecretsT]):
    """Stop the machine's VM without deleting it; OK if it is stopped already (C34).

    Attributes:
        machine_name: Non-empty, at most 128 bytes.
        provider_spec: Only what is needed to find the VM: in the region, for example, that the
            provider ID names, if it names one.
        secrets: Only what is needed to log in.
        provider_id: As the driver answered it, or empty: then look the VM up by name.
        last_known_state: What the driver answered last for this machine, or empty.
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
    """A Kubernetes PersistentVolumeSpec, as the JSON object it came as."""

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
    """Find the provider's IDs of the volumes that are this driver's; skip the rest (C37)."""

    volumes: Sequence[PersistentVolumeSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVolumeIDsResponse:
    """The volumes' IDs at the provider."""

    volume_ids: Sequence[str] = ()
