"""The machine RPCs: one line each over the rules of the contract, which `cmi.rules` holds.

The framework has decoded and validated what arrives here. Where your cloud differs from a rule,
write the method out. Each may be a `def`, which runs in a thread, or an `async def`.
"""

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    GetVolumeIDsRequest,
    GetVolumeIDsResponse,
    InitializeMachineRequest,
    InitializeMachineResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
    rules,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets
from .cloud import ERRORS, PROVIDER_ID, Cloud, volume_id


class MachineServer(Driver):
    """The driver."""

    errors = ERRORS
    provider_id_format = PROVIDER_ID

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def probe(self) -> bool:
        """Tell whether the cloud answers (C6)."""
        return self._cloud.is_ready()

    def create_machine(
        self, request: CreateMachineRequest[ProviderSpec, Secrets]
    ) -> CreateMachineResponse:
        """Make the machine's VM, or finish the one that an earlier try began."""
        return rules.create_machine(self._cloud.login(request.secrets), request)

    def initialize_machine(
        self, request: InitializeMachineRequest[ProviderSpec, Secrets]
    ) -> InitializeMachineResponse:
        """Do what can only be done once the VM runs."""
        return rules.initialize_machine(self._cloud.login(request.secrets), request)

    def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse:
        """Delete the VM and what is left of it."""
        return rules.delete_machine(self._cloud.login(request.secrets), request)

    def get_machine_status(
        self, request: GetMachineStatusRequest[MachineScope, Credentials]
    ) -> GetMachineStatusResponse:
        """Report the VM."""
        return rules.get_machine_status(self._cloud.login(request.secrets), request)

    def list_machines(
        self, request: ListMachinesRequest[MachineScope, Credentials]
    ) -> ListMachinesResponse:
        """List the machines of the cluster and role."""
        return rules.list_machines(self._cloud.login(request.secrets), request)

    def shut_down_machine(
        self, request: ShutDownMachineRequest[MachineScope, Credentials]
    ) -> ShutDownMachineResponse:
        """Stop the VM."""
        return rules.shut_down_machine(self._cloud.login(request.secrets), request)

    def get_volume_ids(self, request: GetVolumeIDsRequest) -> GetVolumeIDsResponse:
        """Pick the volumes that are this cloud's."""
        return rules.get_volume_ids(volume_id, request)
