"""The seam between the contract and one cloud: the author implements it, and `cmi.rules` uses it.

The author of a driver subclasses `Session`, whose methods are things that every cloud can do, and
describes a virtual machine as a `VM`. Each method makes one request to the cloud (or one per page)
and returns. The methods neither decide what the contract requires, nor wait until the cloud has
finished something. The rules do both, so a fix to a rule reaches every driver by `copier update`.

Every method may be repeated at any time, because MCM repeats failed calls, and the process may end
between any two calls (C14, C15). So keep no state in the driver: if a later call has to know
something, store it with the VM in the cloud. Exceptions of the SDK may pass through;
`Driver.errors` says what they mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

from cmi.messages import NodeAddress
from cmi.spec import ClusterScope, SecretsModel

ScopeT_contra = TypeVar("ScopeT_contra", bound=ClusterScope, contravariant=True)
SpecT_contra = TypeVar("SpecT_contra", bound=ClusterScope, contravariant=True)
SecretsT_contra = TypeVar("SecretsT_contra", bound=SecretsModel, contravariant=True)


class VMState(StrEnum):
    """The states that the rules distinguish. Map each state of your cloud to one of these."""

    CREATING = "creating"
    """The cloud or `Session.advance_vm` still has something to do, even if the VM already runs.
    CreateMachine continues with it. It is listed, but GetMachineStatus answers NOT_FOUND;
    otherwise MCM would consider it finished."""
    RUNNING = "running"
    """The VM is finished: all that the spec asks for exists, apart from `initialize_vm`."""
    STOPPED = "stopped"
    """The VM is finished, and somebody stopped it. CreateMachine refuses it with
    FAILED_PRECONDITION, because nobody knows why it was stopped."""
    FAILED = "failed"
    """The VM could not be created and will never run; `VM.failure` says why. CreateMachine deletes
    it and raises that error. So never report a finished VM as failed, such as one that could not
    restart."""
    DELETING = "deleting"
    """The VM is being deleted. DeleteMachine waits until it is gone, and CreateMachine answers
    UNAVAILABLE."""
    GONE = "gone"
    """The VM no longer exists, although the cloud still shows it for a while. The rules treat it
    as absent."""


@dataclass(frozen=True, kw_only=True)
class VM:
    """A virtual machine as the cloud reports it. Subclass it to add what your session needs.

    Attributes:
        name: The machine's name, as stored by `create_vm`. Use a tag of the driver's own rather
            than a display name, which people edit. Empty if it is unknown.
        provider_id: Must equal `node.spec.providerID` of the VM's node, so your cloud's
            cloud-controller-manager determines its form.
        node_name: The name under which the VM registers as a node.
        cluster: The ID of the VM's cluster, as stored by `create_vm`; empty if it is unknown. The
            rules never touch a VM of another cluster (C19, C26).
        role: The VM's role in the cluster, stored in the same way.
        state: The VM's state.
        failure: The reason why a `FAILED`, `DELETING` or `GONE` VM does not run, if the cloud
            reports one: an exception of the SDK or of this framework, such as
            `ResourceExhausted`. The caller of CreateMachine gets it.
        addresses: Where it can be reached, as far as that is known already.
        is_initialized: Whether `Session.initialize_vm` has nothing left to do for this VM. Derive
            it from what exists. Leave it out if your session has no `initialize_vm`.
    """

    name: str
    provider_id: str
    node_name: str
    cluster: str
    role: str
    state: VMState
    failure: Exception | None = None
    addresses: Sequence[NodeAddress] = ()
    is_initialized: bool = True


VMT = TypeVar("VMT", bound=VM)


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A resource that a deleted VM has left behind: a disk, a network port, an address.

    Attributes:
        kind: The kind of resource, for messages, such as `disk`.
        id: The resource's ID in the cloud.
        machine: The name of the machine that the resource belonged to.
        provider_id: A provider ID of this driver: that of the deleted VM or, if it is unknown,
            one made from this resource's ID. MCM passes it to DeleteMachine.
        cluster: The cluster of the VM.
        role: The role of the VM.
    """

    kind: str
    id: str
    machine: str
    provider_id: str
    cluster: str
    role: str


class Session(ABC, Generic[ScopeT_contra, SpecT_contra, SecretsT_contra, VMT]):
    """The calls to the cloud, made with one set of credentials.

    Its type parameters are the scope, by which a cluster's VMs are found; the whole provider
    spec; the secrets that CreateMachine gets; and your subclass of `VM`:
    `Session[MachineScope, ProviderSpec, Secrets, MyVM]`.

    A driver creates a session for each call, with the secrets of that call, and uses it in one
    thread. Objects that sessions share, such as an SDK client, must be thread-safe.

    If your SDK is async, write the methods as plain functions, and call the SDK in them with
    `cmi.run_async`. If its calls block without a timeout, call them with `cmi.run_blocking`.

    Calls that wait at the same time with the same credentials and scope share what they see. So a
    VM that one session has listed may be passed to another session: store only data in a `VM`,
    not a client.
    """

    shares_lists: ClassVar[bool] = True
    """Whether calls that look at the same time share one `list_vms`, or one `list_leftovers`. Set
    it to False if a list takes long in your cloud, contains less about a VM than `get_vm` returns,
    or lags so far behind `find_vms` that CreateMachine would make a second VM. Then each call asks
    for its own VM."""

    @abstractmethod
    def list_vms(self, scope: ScopeT_contra) -> Iterable[VMT]:
        """Return all VMs of the cluster and role, from all pages (C29, C31).

        Used by ListMachines, by `find_vms` unless you override that, and in place of `find_vms`
        and `get_vm` if several calls look at the same time. Include VMs that are half made, have
        failed or whose name is unknown: nobody deletes a VM that is missing here. Filter in the
        cloud if it can. You may return too many VMs: MCM deletes every listed VM that has no
        Machine, so the rules check cluster and role again.
        """

    def find_vms(self, scope: ScopeT_contra, name: str) -> Iterable[VMT]:
        """Return the VMs of one machine, usually none or one (C12).

        Used when MCM passes no provider ID: always by CreateMachine, and by GetMachineStatus,
        ShutDownMachine and DeleteMachine while MCM does not know the ID yet. The default searches
        `list_vms`; override it if your cloud can filter by the tag with the machine's name. As in
        `list_vms`, include half-made VMs; you may return too many.

        If several calls look at the same time, they use one `list_vms` instead. If that lacks the
        machine, only DeleteMachine calls `find_vms` too, because nobody looks again after it.
        """
        return [vm for vm in self.list_vms(scope) if vm.name == name]

    @abstractmethod
    def get_vm(self, scope: ScopeT_contra, provider_id: str) -> VMT | None:
        """Return the VM with this provider ID, or None if it does not exist.

        Used by GetMachineStatus, ShutDownMachine and DeleteMachine when MCM passes a provider
        ID (C20), and by all RPCs except ListMachines to look at a VM while it is being created,
        stopped or deleted. Don't check name, cluster or role: the rules do, and people may have
        changed the name. The ID has the form of `Driver.provider_id_format`. If a part of it has
        the name of a field of your scope, such as the region, `scope` already has that value.
        """

    @abstractmethod
    def create_vm(self, name: str, spec: SpecT_contra, secrets: SecretsT_contra) -> VMT:
        """Ask the cloud for a VM, and return it in whatever state it is.

        Used by CreateMachine if `find_vms` finds none. Store the machine's name, the cluster and
        the role with the VM in the same request, so that nothing is lost if the process ends
        right after it (C14). If the cloud accepts a client token, derive one from these three, so
        that repeating a request whose answer was lost does not create a second VM (C15). If the
        cloud refuses the name because another VM has it, map that to ALREADY_EXISTS: that VM does
        not belong to the machine, or `find_vms` would have found it.

        Args:
            name: The machine's name.
            spec: The whole provider spec.
            secrets: The Secret, with the user data that the VM boots with.
        """

    def advance_vm(self, vm: VMT, spec: SpecT_contra, secrets: SecretsT_contra) -> None:
        """Do the remaining steps for a VM that is `CREATING`, as far as possible now.

        CreateMachine calls this every few seconds, each time with a fresh look at the VM, until
        the VM is finished, even if an earlier call or process began it. So derive the next step
        from what exists (no disk yet? create it. No network? attach it), and make each step safe
        to repeat. Don't wait for the cloud: if the next step is not possible while an action is
        running, return, and the method will be called again.

        An exception ends the call, and the next call continues with the same VM. An SDK exception
        that `Driver.errors` maps to `Unavailable`, such as a timeout, only ends this step, and
        the method is called again after a pause. If an action has failed and repeating it can't
        help, report the VM as `FAILED` instead, so that the next call starts with a new one. The
        default does nothing, which is right for a cloud that creates a VM in one call.

        Args:
            vm: The VM, as just returned by `create_vm`, `find_vms` or `get_vm`.
            spec: The whole provider spec.
            secrets: The Secret.
        """

    def initialize_vm(self, vm: VMT, spec: SpecT_contra, secrets: SecretsT_contra) -> None:
        """Do the steps that need a finished VM, as far as possible now.

        InitializeMachine calls this for a VM that is not `is_initialized`, every few seconds with
        a fresh look, until it is. Everything else is as in `advance_vm`. By now MCM knows the VM's
        provider ID. So use this for steps whose failure should not replace the VM, such as
        letting it forward packets of Pods, or tagging resources that the cloud created with it.
        The default does nothing, which is right if `advance_vm` does everything. MCM stops
        calling once the node is ready, so steps that a VM can't do without belong in `advance_vm`.

        Args:
            vm: The VM, as just returned by `find_vms` or `get_vm`.
            spec: The whole provider spec.
            secrets: The Secret.
        """

    @abstractmethod
    def differences(self, vm: VMT, spec: SpecT_contra) -> Sequence[str]:
        """Return the fields, as named in YAML, in which the VM differs from the spec (C11).

        Used by CreateMachine if the machine already has a VM. If it differs, CreateMachine
        answers ALREADY_EXISTS and names the fields. Compare fields that can't be changed on a
        VM. Leave out what `advance_vm` adds later; otherwise a half-made VM is refused and never
        finished. To compare all fields at once, store a `spec_fingerprint` in a tag at creation,
        and use `spec_differences`.

        Returns:
            Names such as `machineType`; nothing if the VM matches the spec.
        """

    @abstractmethod
    def stop_vm(self, vm: VMT) -> None:
        """Ask the cloud to stop a VM that is `RUNNING`.

        Used by ShutDownMachine, which then waits until the VM is no longer `RUNNING` (C34).
        """

    @abstractmethod
    def delete_vm(self, vm: VMT) -> None:
        """Ask the cloud to delete a VM, whatever its state; do nothing if it is gone.

        Used by DeleteMachine for a VM that is not yet `DELETING`. DeleteMachine then waits until
        `get_vm` returns None or a `GONE` VM (C22). Also used by CreateMachine for a `FAILED` VM.
        From then on, resources that the cloud does not delete with the VM are leftovers.
        """

    @abstractmethod
    def list_leftovers(self, scope: ScopeT_contra, name: str | None = None) -> Iterable[Leftover]:
        """Return what deleted VMs of the cluster and role have left behind, from all pages.

        Used by DeleteMachine, which deletes the leftovers of its machine and looks again until
        there are none (C22), and by ListMachines, which lists all of them, so that MCM's orphan
        collection deletes them if the Machine is gone (C29). A resource whose VM still exists is
        not a leftover. So ask the cloud for disks first and for VMs after that; otherwise, the
        disk of a VM that is created in between looks like a leftover. Return nothing if your
        cloud deletes everything with the VM.

        Args:
            scope: The cluster and the role.
            name: The machine whose leftovers are needed; None for those of all machines. You may
                return more, because the rules filter them.
        """

    @abstractmethod
    def delete_leftover(self, leftover: Leftover) -> None:
        """Ask the cloud to delete a leftover; do nothing if it is gone or being deleted.

        Used by DeleteMachine at each look, as long as `list_leftovers` returns it.
        """
