"""The machine RPCs: each is one line that calls a rule of the contract, from `cmi.rules`.

The framework has already decoded and validated the requests. Two methods are missing, so the driver
does not announce these capabilities: InitializeMachine, since a VM that runs is finished, and
GetVolumeIDs, since libvirt has no volumes for Pods.
"""

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
    rules,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets
from .cloud import ERRORS, PROVIDER_ID, Cloud


class MachineServer(Driver):
    """The driver."""

    errors = ERRORS
    provider_id_format = PROVIDER_ID

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def probe(self) -> bool:
        """Check that the cloud answers (C6)."""
        return self._cloud.is_ready()

    def create_machine(
        self, request: CreateMachineRequest[ProviderSpec, Secrets]
    ) -> CreateMachineResponse:
        """Create the machine's VM, or finish one that an earlier call began."""
        return rules.create_machine(self._cloud.login(request.secrets), request)

    def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse:
        """Delete the VM and everything it left behind."""
        return rules.delete_machine(self._cloud.login(request.secrets), request)

    def get_machine_status(
        self, request: GetMachineStatusRequest[MachineScope, Credentials]
    ) -> GetMachineStatusResponse:
        """Report the machine's VM."""
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
