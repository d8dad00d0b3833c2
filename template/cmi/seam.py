"""The seam between the contract and one cloud: what an author writes, and `cmi.rules` uses.

An author subclasses `Session`, whose methods are what every cloud can do, and describes a
virtual machine as a `VM`. A method asks the cloud once (or page by page) and returns. None of
them decides what the contract asks for, and none of them waits until the cloud has finished
something: the rules do both. So a fix to a rule reaches every driver by `copier update`.

Every method may be repeated at any time: MCM repeats whatever failed, and a process may end
between any two calls (C14, C15). Keep no state of your own: whatever a later call has to know
is stored with the VM at the cloud. An exception of the SDK may pass through; `Driver.errors`
says what it means.
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
    """What the rules tell apart. Map each state of your cloud to one of these."""

    CREATING = "creating"
    """Something is still to do, by the cloud or by `Session.advance_vm`, even if it runs already.
    CreateMachine goes on with it. It is listed, but GetMachineStatus answers NOT_FOUND, or MCM
    would take it for finished."""
    RUNNING = "running"
    """It is finished: everything that the spec asks for is there, but for `initialize_vm`."""
    STOPPED = "stopped"
    """It is finished, and somebody stopped it. CreateMachine refuses it with
    FAILED_PRECONDITION, since nobody knows why it was stopped."""
    FAILED = "failed"
    """It could not be made and never will run; `VM.failure` says why. CreateMachine deletes it
    and raises that. So never call a finished VM failed, such as one that could not restart."""
    DELETING = "deleting"
    """It is on its way out. DeleteMachine waits for its end, and CreateMachine answers
    UNAVAILABLE."""
    GONE = "gone"
    """Nothing is left of it, although the cloud still shows it for a while. The rules treat it
    as absent."""


@dataclass(frozen=True, kw_only=True)
class VM:
    """A virtual machine as the cloud reports it. Subclass it with what your session needs.

    Attributes:
        name: The machine's name, from where `create_vm` stored it. Prefer a tag of the driver's
            own to a display name, which people edit. Empty if it can't be told.
        provider_id: Equal to `node.spec.providerID` of its node, so your cloud's
            cloud-controller-manager dictates the form.
        node_name: The name that it registers under as a node.
        cluster: The ID of the cluster it was made for, from where `create_vm` stored it; empty
            if it can't be told. The rules leave a VM of another cluster alone (C19, C26).
        role: Likewise its role in the cluster.
        state: Its state.
        failure: Why a `FAILED`, `DELETING` or `GONE` VM does not run, if the cloud says so: an
            exception of the SDK, or of this framework, such as `ResourceExhausted`. The caller
            of CreateMachine gets it.
        addresses: Where it can be reached, as far as that is known already.
        is_initialized: Whether `Session.initialize_vm` has nothing left to do for it. Tell it
            from what is there, and leave it out if your session has no `initialize_vm`.
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
    """What a VM that is gone has left behind: a disk, a network port, an address.

    Attributes:
        kind: What it is, for messages, such as `disk`.
        id: Its ID at the cloud.
        machine: The name of the machine that it belonged to.
        provider_id: A provider ID of this driver: that of the VM which is gone or, if it can't
            be told, one made from this resource's ID. MCM hands it to DeleteMachine.
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
    """The calls that one set of credentials may make: `Session[MachineScope, ProviderSpec, …]`.

    Type parameters: the scope, by which a cluster's VMs are found; the whole provider spec; the
    secrets that CreateMachine gets; your subclass of `VM`.

    A driver makes a session for each call, with the secrets of that call, and uses it in one
    thread. What sessions share, such as a client of the SDK, has to be safe between threads.

    If your SDK is async, write these methods as they are and call the SDK in them by
    `cmi.run_async`.

    Calls with the same credentials and scope that wait at the same time share what they see. So a
    VM that one session has listed may be handed to another one: let a `VM` hold data, and no
    client.
    """

    shares_lists: ClassVar[bool] = True
    """Several calls that look at the same time share one `list_vms`, or one `list_leftovers`.
    Say False if a list takes your cloud long, or tells less of a VM than `get_vm`: then each
    call asks for its own VM."""

    @abstractmethod
    def list_vms(self, scope: ScopeT_contra) -> Iterable[VMT]:
        """Return all VMs of the cluster and role, on all pages (C29, C31).

        Used by ListMachines, by `find_vms` unless you override that, and instead of `find_vms`
        and `get_vm` if several calls look at the same time. Half-made VMs, failed
        ones and those whose name can't be told are among them: nobody deletes a VM that is left
        out here. Filter at the cloud if it can. You may return too many, since the rules check
        cluster and role once more: MCM deletes every listed VM that it has no Machine for.
        """

    def find_vms(self, scope: ScopeT_contra, name: str) -> Iterable[VMT]:
        """Return the VMs of one machine, usually none or one (C12).

        Used where MCM gives no provider ID: always by CreateMachine, and by GetMachineStatus,
        ShutDownMachine and DeleteMachine while MCM does not know the ID yet. It looks through
        `list_vms`; override it if your cloud can filter by what holds the machine's name. As
        there, half-made VMs are among them, and you may return too many.
        """
        return [vm for vm in self.list_vms(scope) if vm.name == name]

    @abstractmethod
    def get_vm(self, scope: ScopeT_contra, provider_id: str) -> VMT | None:
        """Return the VM with this provider ID, or None if there is none.

        Used by GetMachineStatus, ShutDownMachine and DeleteMachine where MCM gives a provider
        ID (C20), and by all but ListMachines to look at a VM while it is made, stopped or
        deleted. Don't check name, cluster or role: the rules do, and people may have changed the
        name. The ID has the form of `Driver.provider_id_format`. Where it has a part that your
        scope has a field for, such as the region, `scope` already says what the ID says.
        """

    @abstractmethod
    def create_vm(self, name: str, spec: SpecT_contra, secrets: SecretsT_contra) -> VMT:
        """Ask the cloud for a VM, and return it in whatever state it is.

        Used by CreateMachine when `find_vms` finds none. Store the machine's name, the cluster
        and the role with the VM in the same call, so that nothing is lost if the process ends
        right after it (C14). If the cloud takes a client token, give it one made of these
        three, so that a call whose answer was lost makes no second VM (C15). If the cloud
        refuses the name because another VM has it, let that be ALREADY_EXISTS: that VM is a
        stranger's, or `find_vms` would have found it.

        Args:
            name: The machine's name.
            spec: The whole provider spec.
            secrets: The Secret, with the user data that the VM boots with.
        """

    def advance_vm(self, vm: VMT, spec: SpecT_contra, secrets: SecretsT_contra) -> None:
        """Do what is still to do for a VM that is `CREATING`, as far as it can be done now.

        Used by CreateMachine every few seconds, with a fresh look at the VM each time, until it
        is finished: also for one that an earlier try, or an earlier process, began. So derive
        what to do from what is there (no disk yet? create it. No network? attach it), and let
        each step be one that may be repeated. Don't wait for the cloud: if an action runs that
        forbids the next one, return, and you are called again.

        An exception ends the call; the next try goes on with the same VM. One of the SDK that
        `Driver.errors` makes `Unavailable`, such as throttling, only ends this step: you are
        called again after a pause. If an action has
        failed in a way that a repetition can't mend, report the VM as `FAILED` instead, so that
        the next try begins with a new one. The default does nothing, which is right for a cloud
        that makes a VM in one call.

        Args:
            vm: The VM as `create_vm`, `find_vms` or `get_vm` has just returned it.
            spec: The whole provider spec.
            secrets: The Secret.
        """

    def initialize_vm(self, vm: VMT, spec: SpecT_contra, secrets: SecretsT_contra) -> None:
        """Do what can only be done to a finished VM, as far as it can be done now.

        Used by InitializeMachine for a VM that is not `is_initialized`, with a fresh look every
        few seconds until it is; the rest is as in `advance_vm`. By then MCM knows the VM's
        provider ID, so this is for steps that may fail while the VM should stay: to let it
        forward packets of Pods, or to tag what the cloud made with it. The default does nothing,
        which is right where `advance_vm` does all. The older MCM never calls InitializeMachine:
        what a VM can't do without belongs in `advance_vm`.

        Args:
            vm: The VM as `find_vms` or `get_vm` has just returned it.
            spec: The whole provider spec.
            secrets: The Secret.
        """

    @abstractmethod
    def differences(self, vm: VMT, spec: SpecT_contra) -> Sequence[str]:
        """Return the fields of the spec, as in YAML, that the VM was not made from (C11).

        Used by CreateMachine when the machine has a VM already: one that differs is refused
        with ALREADY_EXISTS, and the message names the fields. Compare what can't be changed on a
        VM. Leave out what `advance_vm` adds later, or a half-made VM is refused and never
        finished. `spec_fingerprint`, stored in a tag at creation, and `spec_differences` do all
        this for every field at once.

        Returns:
            Names such as `machineType`; nothing if the VM is as the spec says.
        """

    @abstractmethod
    def stop_vm(self, vm: VMT) -> None:
        """Ask the cloud to stop a VM that is `RUNNING`.

        Used by ShutDownMachine, which then waits until the VM is not `RUNNING` any more (C34).
        """

    @abstractmethod
    def delete_vm(self, vm: VMT) -> None:
        """Ask the cloud to delete a VM, whatever its state; nothing happens if it is gone.

        Used by DeleteMachine for a VM that is not `DELETING` yet, which then waits until `get_vm`
        returns None or a `GONE` one (C22), and by CreateMachine for a `FAILED` one. What the cloud
        does not delete with the VM is a leftover from then on.
        """

    @abstractmethod
    def list_leftovers(self, scope: ScopeT_contra, name: str | None = None) -> Iterable[Leftover]:
        """Return what VMs of the cluster and role that are gone have left behind, on all pages.

        Used by DeleteMachine, which deletes those of its machine and looks again until there are
        none (C22), and by ListMachines, which lists them all so that MCM's orphan collection
        deletes them if the Machine is gone (C29). What belongs to a VM that is still there is no
        leftover. So ask the cloud for the disks first and for the VMs after that, or the disk of
        a VM that is made in between is taken for one. Return nothing if your cloud deletes
        everything with the VM.

        Args:
            scope: The cluster and the role.
            name: The machine whose leftovers are wanted; None for those of all machines. You
                may return more: the rules pick.
        """

    @abstractmethod
    def delete_leftover(self, leftover: Leftover) -> None:
        """Ask the cloud to delete a leftover; nothing happens if it is gone or on its way out.

        Used by DeleteMachine, at each look for as long as `list_leftovers` returns it.
        """
