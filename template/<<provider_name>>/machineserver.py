"""The machine RPCs. The framework has decoded and validated what arrives here.

The methods hold the rules of the contract; the cloud's own ways are in `cloud.py`.
Each may be a `def`, which runs in a thread, or an `async def`.
"""

import re

from cmi import (
    AlreadyExists,
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    FailedPrecondition,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    GetVolumeIDsRequest,
    GetVolumeIDsResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    NotFound,
    OutOfRange,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets
from .cloud import ERRORS, VM, Cloud, Session, VMState, volume_id

PROVIDER = __name__.partition(".")[0]
"""The provider's name, and the scheme of its provider IDs."""

PROVIDER_ID = re.compile(rf"{PROVIDER}:///(?P<region>[^/]+)/[^/]+")


def provider_id(vm: VM) -> str:
    """Return what `node.spec.providerID` says on the VM's node."""
    return f"{PROVIDER}:///{vm.region}/{vm.id}"


class MachineServer(Driver):
    """The driver."""

    errors = ERRORS
    provider_id_pattern = PROVIDER_ID

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def probe(self) -> bool:
        """Tell whether the cloud answers (C6)."""
        return self._cloud.is_ready()

    def create_machine(
        self, request: CreateMachineRequest[ProviderSpec, Secrets]
    ) -> CreateMachineResponse:
        """Make the VM, or finish the one that an earlier try began (C10, C15)."""
        name, spec = request.machine_name, request.provider_spec
        session = self._cloud.login(request.secrets)
        vm = _the_one(name, session.find_vms(spec, name))
        if vm is not None and (differing := vm.differences(spec)):
            raise AlreadyExists(
                f"machine {name} exists with another {', '.join(differing)}; "
                "delete it first or use another name"
            )
        if vm is not None and vm.state is VMState.STOPPED:
            raise FailedPrecondition(f"machine {name} exists but is stopped; delete it first")
        vm = session.create_vm(name, spec, request.secrets.user_data)
        return CreateMachineResponse(provider_id=provider_id(vm), node_name=vm.node_name)

    def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse:
        """Delete the VM and its disks, also those of a VM that is gone already (C17, C22)."""
        session = self._cloud.login(request.secrets)
        for vm in _matching(request, session):
            session.delete_vm(vm)
        session.delete_leftovers(_scope(request), request.machine_name)
        return DeleteMachineResponse()

    def get_machine_status(
        self, request: GetMachineStatusRequest[MachineScope, Credentials]
    ) -> GetMachineStatusResponse:
        """Report the VM (C23)."""
        session = self._cloud.login(request.secrets)
        vm = _existing(request, session)
        return GetMachineStatusResponse(provider_id=provider_id(vm), node_name=vm.node_name)

    def list_machines(
        self, request: ListMachinesRequest[MachineScope, Credentials]
    ) -> ListMachinesResponse:
        """List the VMs of the cluster and role, half-made ones too, so that none is lost (C29)."""
        session = self._cloud.login(request.secrets)
        vms = session.find_vms(request.provider_spec)
        return ListMachinesResponse(machines={provider_id(vm): vm.name for vm in vms})

    def shut_down_machine(
        self, request: ShutDownMachineRequest[MachineScope, Credentials]
    ) -> ShutDownMachineResponse:
        """Stop the VM (C34)."""
        session = self._cloud.login(request.secrets)
        session.stop_vm(_existing(request, session))
        return ShutDownMachineResponse()

    def get_volume_ids(self, request: GetVolumeIDsRequest) -> GetVolumeIDsResponse:
        """Pick the volumes that are this cloud's (C37, C38)."""
        found = (volume_id(volume) for volume in request.volumes)
        return GetVolumeIDsResponse(volume_ids=[volume for volume in found if volume])


AnyRequest = (
    DeleteMachineRequest[MachineScope, Credentials]
    | GetMachineStatusRequest[MachineScope, Credentials]
    | ShutDownMachineRequest[MachineScope, Credentials]
)


def _matching(request: AnyRequest, session: Session) -> list[VM]:
    """Return the cluster's VMs of the machine; with a provider ID, only the one it names.

    MCM deletes the surplus one of two VMs by its provider ID. Falling back to the name would
    delete the other one.
    """
    vms = session.find_vms(_scope(request), request.machine_name)
    return [vm for vm in vms if request.provider_id in ("", provider_id(vm))]


def _scope(request: AnyRequest) -> MachineScope:
    """Return where to look for the VM: in the region where it was made, if that is known.

    A machine class that has moved to another region since must not hide it.
    """
    made = PROVIDER_ID.fullmatch(request.provider_id)
    if made is None:
        return request.provider_spec
    return request.provider_spec.model_copy(update={"region": made["region"]})


def _existing(request: AnyRequest, session: Session) -> VM:
    """Return the machine's VM.

    Raises:
        NotFound: There is none (C24), or a half-made one: MCM would take it for a finished
            one and never call CreateMachine again.
        OutOfRange: There are several (C25).
    """
    name = request.machine_name
    vm = _the_one(name, _matching(request, session))
    if vm is None:
        raise NotFound(f"machine {name} does not exist in cluster {request.provider_spec.cluster}")
    if vm.state is VMState.CREATING:
        raise NotFound(f"machine {name} is only half created; CreateMachine finishes it")
    return vm


def _the_one(name: str, vms: list[VM]) -> VM | None:
    if len(vms) > 1:
        ids = ", ".join(sorted(vm.id for vm in vms))
        raise OutOfRange(
            f"machine {name} has {len(vms)} VMs: {ids}; delete those that are too many"
        )
    return vms[0] if vms else None
