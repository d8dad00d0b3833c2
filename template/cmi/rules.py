"""The rules of the contract: one function for each machine RPC, which works with any `Session`.

They decide which VM a call is about, and whether to adopt, refuse, finish, ignore or list it. Each
method of a driver is one line that calls a rule. If your cloud needs something else, write that
method yourself.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from cmi.contract import MAX_NAME_BYTES
from cmi.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    NotFound,
    OutOfRange,
    Unavailable,
)
from cmi.looks import Looks
from cmi.messages import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    GetVolumeIDsRequest,
    GetVolumeIDsResponse,
    InitializeMachineRequest,
    InitializeMachineResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    PersistentVolumeSpec,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
)
from cmi.seam import VM, VMT, Leftover, Session, VMState
from cmi.spec import ClusterScope, SecretsT, SpecT
from cmi.turns import Turns
from cmi.waiting import Steps

log = logging.getLogger(__name__)

ScopeT = TypeVar("ScopeT", bound=ClusterScope)


def create_machine(
    session: Session[SpecT, SpecT, SecretsT, VMT],
    request: CreateMachineRequest[SpecT, SecretsT],
) -> CreateMachineResponse:
    """Create the machine's VM, or finish one that an earlier call began (C10, C12, C15).

    Raises:
        AlreadyExists: The machine's VM was created from another spec (C11).
        FailedPrecondition: Somebody stopped the machine's VM (C13).
        OutOfRange: The machine has several VMs (C25).
        Unavailable: The machine's VM is being deleted, or vanished during its creation.
    """
    name, spec = request.machine_name, request.provider_spec
    looks = Looks(session, request)

    def find() -> VMT | None:
        return _only(name, _own(spec, looks.named(name)))

    vm = find()
    is_new = vm is None
    if vm is None:
        vm = Turns(session, request).take(
            "create",
            f"the cloud to make a VM for machine {name}",
            lambda: session.create_vm(name, spec, request.secrets),
            find=find,
        )
    elif differing := session.differences(vm, spec):
        raise AlreadyExists(
            f"machine {name} exists with another {', '.join(differing)}; "
            "delete it first or use another name"
        )
    vm = _finished(session, looks, request, vm, is_new=is_new)
    if (vm.name, vm.cluster, vm.role) != (name, spec.cluster, spec.role):
        raise Internal(
            f"VM {vm.provider_id} was made for machine {name} of cluster {spec.cluster}, but is "
            f"reported as {vm.name!r} of {vm.cluster!r} in role {vm.role!r}; the driver does not "
            "store or read them correctly"
        )
    return CreateMachineResponse(
        provider_id=vm.provider_id, node_name=vm.node_name, addresses=vm.addresses
    )


def initialize_machine(
    session: Session[SpecT, SpecT, SecretsT, VMT],
    request: InitializeMachineRequest[SpecT, SecretsT],
) -> InitializeMachineResponse:
    """Do the steps that need a finished VM, and wait until they are done (C59).

    Raises:
        NotFound: There is no VM, or it is not finished (C60).
        OutOfRange: The machine has several VMs (C25).
        Unavailable: The VM vanished meanwhile.
    """
    name = request.machine_name
    looks, steps = Looks(session, request), Steps()

    def initialized(vm: VMT) -> VMT | None:
        if vm.is_initialized:
            return vm
        with steps.step():
            session.initialize_vm(vm, request.provider_spec, request.secrets)
        return None

    def initialized_later(reported: VMT | None) -> VMT | None:
        if reported is None or not _is_there(reported):
            raise Unavailable(f"the VM of machine {name} vanished; try again")
        return initialized(reported)

    found = _existing(looks, request)
    what = f"VM {found.provider_id} of machine {name} to be initialized"
    vm = initialized(found) or looks.wait_for_vm(what, found.provider_id, initialized_later)
    return InitializeMachineResponse(
        provider_id=vm.provider_id, node_name=vm.node_name, addresses=vm.addresses
    )


def delete_machine(
    session: Session[ScopeT, Any, Any, VMT],
    request: DeleteMachineRequest[ScopeT, Any],
) -> DeleteMachineResponse:
    """Delete the machine's VM and its leftovers, and wait until both are gone (C22).

    It is OK if the VM does not exist (C17). With a provider ID, only that VM is deleted, even if
    there is another one of the same name: MCM deletes a surplus VM in this way (C20).
    """
    looks = Looks(session, request)
    _remove(session, looks, request, _found(looks, request, is_final=True))
    return DeleteMachineResponse()


def get_machine_status(
    session: Session[ScopeT, Any, Any, VMT],
    request: GetMachineStatusRequest[ScopeT, Any],
) -> GetMachineStatusResponse:
    """Report the machine's VM (C23), and whether it is still to be initialized (C59).

    Raises:
        NotFound: The VM does not exist (C24), or is not finished.
        OutOfRange: The machine has several VMs (C25).
    """
    vm = _existing(Looks(session, request), request)
    return GetMachineStatusResponse(
        provider_id=vm.provider_id,
        node_name=vm.node_name,
        addresses=vm.addresses,
        uninitialized=not vm.is_initialized,
    )


def list_machines(
    session: Session[ScopeT, Any, Any, VMT],
    request: ListMachinesRequest[ScopeT, Any],
) -> ListMachinesResponse:
    """List the VMs of the cluster and role, including half-made ones, and all leftovers (C29).

    A VM without a usable name or provider ID is left out, with a warning: an error would keep MCM
    from collecting the orphans of all classes (C30).
    """
    scope = request.provider_spec
    machines: dict[str, str] = {}
    left_out = 0
    for vm in _own(scope, session.list_vms(scope)):
        if _is_usable(vm.name) and _is_usable(vm.provider_id):
            machines[vm.provider_id] = vm.name
        else:
            left_out += 1
            log.warning(
                "left out of the list: a VM whose machine is unknown; delete it by hand",
                extra={"fields": {"provider_id": vm.provider_id, "cluster": scope.cluster}},
            )
    for leftover in _left_of(scope, session.list_leftovers(scope)):
        if _is_usable(leftover.machine) and _is_usable(leftover.provider_id):
            machines.setdefault(leftover.provider_id, leftover.machine)
    return ListMachinesResponse(machines=machines, left_out=left_out)


def shut_down_machine(
    session: Session[ScopeT, Any, Any, VMT],
    request: ShutDownMachineRequest[ScopeT, Any],
) -> ShutDownMachineResponse:
    """Stop the machine's VM, and wait until it is stopped (C34).

    Raises:
        NotFound: The VM does not exist (C35).
        OutOfRange: The machine has several VMs (C25).
    """
    looks = Looks(session, request)
    vm = _existing(looks, request)
    if vm.state is VMState.RUNNING:
        what = f"the cloud to stop VM {vm.provider_id}"
        Turns(session, request).take("stop", what, partial(session.stop_vm, vm))
        looks.wait_for_vm(
            f"VM {vm.provider_id} of machine {request.machine_name} to stop",
            vm.provider_id,
            lambda now: now is None or now.state is not VMState.RUNNING,
        )
    return ShutDownMachineResponse()


def get_volume_ids(
    volume_id: Callable[[PersistentVolumeSpec], str | None], request: GetVolumeIDsRequest
) -> GetVolumeIDsResponse:
    """Return the IDs of the volumes in this cloud: those that `volume_id` returns (C37)."""
    found = map(volume_id, request.volumes)
    return GetVolumeIDsResponse(volume_ids=[each for each in found if each])


def _remove(
    session: Session[ScopeT, Any, Any, VMT],
    looks: Looks[ScopeT, VMT],
    request: CreateMachineRequest[Any, Any] | DeleteMachineRequest[Any, Any],
    vms: list[VMT],
) -> None:
    """Delete these VMs of a machine and its leftovers, and wait until both are gone."""
    name, steps, turns = request.machine_name, Steps(), Turns(session, request)
    for vm in vms:
        if vm.state is not VMState.DELETING:
            what = f"the cloud to delete VM {vm.provider_id}"
            turns.take("delete", what, partial(session.delete_vm, vm))
    for vm in vms:
        looks.wait_for_vm(
            f"VM {vm.provider_id} of machine {name} to be gone", vm.provider_id, _is_absent
        )

    def without_leftovers(found: list[Leftover]) -> bool:
        leftovers = _left_of(request.provider_spec, found, name)
        for leftover in leftovers:
            with steps.step():
                session.delete_leftover(leftover)
        return not leftovers

    looks.wait_for_leftovers(f"the leftovers of machine {name} to be gone", name, without_leftovers)


def _finished(
    session: Session[SpecT, SpecT, SecretsT, VMT],
    looks: Looks[SpecT, VMT],
    request: CreateMachineRequest[SpecT, SecretsT],
    vm: VMT,
    *,
    is_new: bool,
) -> VMT:
    """Return the VM once it is finished.

    The cloud may take a moment to report a new VM. A VM that was reported before and is missing
    now has vanished.
    """
    name, spec = request.machine_name, request.provider_spec
    latest, was_seen = vm, not is_new
    steps = Steps()

    def go_on() -> VMT | None:
        if latest.state is VMState.FAILED:
            _remove(session, looks, request, [latest])  # otherwise, a retry would find it again
        if _is_finished(name, latest):
            return latest
        with steps.step():
            session.advance_vm(latest, spec, request.secrets)
        return None

    def look(reported: VMT | None) -> VMT | None:
        nonlocal latest, was_seen
        if reported is None and was_seen:
            raise Unavailable(f"VM {vm.provider_id} of machine {name} vanished; try again")
        latest, was_seen = reported or latest, reported is not None
        return go_on()

    what = f"VM {vm.provider_id} of machine {name} to be finished"
    return go_on() or looks.wait_for_vm(what, vm.provider_id, look)


def _is_finished(name: str, vm: VM) -> bool:
    """Return whether the VM runs; raise if it never will."""
    if vm.state in (VMState.FAILED, VMState.GONE):
        raise vm.failure or Unavailable(
            f"the cloud gave up VM {vm.provider_id} of machine {name} without a reason; try again"
        )
    if vm.state is VMState.DELETING:  # perhaps by the cloud itself, which could not create it
        raise vm.failure or Unavailable(
            f"VM {vm.provider_id} of machine {name} is being deleted; try again"
        )
    if vm.state is VMState.STOPPED:
        raise FailedPrecondition(f"machine {name} exists but is stopped; delete it first")
    return vm.state is VMState.RUNNING


AnyRequest = (
    DeleteMachineRequest[ScopeT, Any]
    | GetMachineStatusRequest[ScopeT, Any]
    | InitializeMachineRequest[ScopeT, Any]
    | ShutDownMachineRequest[ScopeT, Any]
)


def _existing(looks: Looks[ScopeT, VMT], request: AnyRequest[ScopeT]) -> VMT:
    """Return the machine's finished VM.

    A half-made VM is NOT_FOUND: otherwise, MCM would consider it finished and never call
    CreateMachine, which finishes it.
    """
    name = request.machine_name
    vm = _only(name, _found(looks, request))
    if vm is None:
        raise NotFound(f"machine {name} does not exist in cluster {request.provider_spec.cluster}")
    if not _is_there(vm):
        raise NotFound(f"machine {name} has no finished VM: its VM is {vm.state.value}")
    return vm


def _is_there(vm: VM) -> bool:
    return vm.state in (VMState.RUNNING, VMState.STOPPED)


def _found(
    looks: Looks[ScopeT, VMT], request: AnyRequest[ScopeT], *, is_final: bool = False
) -> list[VMT]:
    """Return the VM with the provider ID, whatever its name; without an ID, the VMs by name.

    See `Looks.named` for `is_final`.
    """
    scope = request.provider_spec
    if not request.provider_id:
        return _own(scope, looks.named(request.machine_name, is_final=is_final))
    vm = looks.vm(request.provider_id)
    return [] if vm is None else _own(scope, [vm])


def _own(scope: ClusterScope, vms: Iterable[VMT]) -> list[VMT]:
    """Return those VMs that exist and belong to the scope's cluster and role (C19, C26)."""
    return [vm for vm in vms if _is_own(scope, vm) and not _is_absent(vm)]


def _left_of(
    scope: ClusterScope, leftovers: Iterable[Leftover], machine: str | None = None
) -> list[Leftover]:
    """Return the leftovers of the scope's VMs, or of one machine's VM."""
    return [each for each in leftovers if _is_own(scope, each) and machine in (None, each.machine)]


def _is_own(scope: ClusterScope, resource: VM | Leftover) -> bool:
    return (resource.cluster, resource.role) == (scope.cluster, scope.role)


def _is_absent(vm: VM | None) -> bool:
    return vm is None or vm.state is VMState.GONE


def _is_usable(name: str) -> bool:
    return 0 < len(name.encode()) <= MAX_NAME_BYTES


def _only(name: str, vms: list[VMT]) -> VMT | None:
    if len(vms) > 1:
        ids = ", ".join(sorted(vm.provider_id for vm in vms))
        raise OutOfRange(f"machine {name} has {len(vms)} VMs: {ids}; delete all but one")
    return vms[0] if vms else None
