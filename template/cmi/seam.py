"""The seam between the contract and one cloud: what an author writes, and `cmi.rules` uses.

An author subclasses `Session`, whose methods are what every cloud can do, and describes a
virtual machine as a `VM`. A method asks the cloud once (or page by page) and returns. None of
them decides what the contract asks for, and none of them waits: the rules do both. So a fix
to a rule reaches every driver by `copier update`.

Every method may be repeated at any time: MCM repeats whatever failed, and a process may end
between any two calls (C14, C15). An exception of the SDK may pass through; `Driver.errors`
says what it means.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cmi.spec import ClusterScope, SecretsModel

ScopeT_contra = TypeVar("ScopeT_contra", bound=ClusterScope, contravariant=True)
SpecT_contra = TypeVar("SpecT_contra", bound=ClusterScope, contravariant=True)
SecretsT_contra = TypeVar("SecretsT_contra", bound=SecretsModel, contravariant=True)


class VMState(StrEnum):
    """What the rules tell apart. Map each state of your cloud to one of these."""

    CREATING = "creating"
    """Something is still to do, by the cloud or by `Session.advance_vm`. It is listed, but not
    reported to MCM, which would take it for finished."""
    RUNNING = "running"
    """It is finished: everything that the spec asks for is there."""
    STOPPED = "stopped"
    """It is finished, and somebody stopped it."""
    FAILED = "failed"
    """The cloud still has it, but it will never run; `VM.failure` says why."""
    DELETING = "deleting"
    """It is on its way out."""
    GONE = "gone"
    """Nothing is left of it, although the cloud still shows it. The rules take it for absent."""


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
    """

    name: str
    provider_id: str
    node_name: str
    cluster: str
    role: str
    state: VMState
    failure: Exception | None = None


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

    If your SDK is async, write these methods as they are and call the SDK in them by
    `cmi.run_async`.
    """

    @abstractmethod
    def list_vms(self, scope: ScopeT_contra) -> Iterable[VMT]:
        """Return all VMs of the cluster and role, on all pages (C29, C31).

        Used by ListMachines, and by `find_vms` unless you override that. Half-made VMs, failed
        ones and those whose name can't be told are among them; a VM that is left out here is
        lost. Filter at the cloud if it can; the rules check cluster and role once more.
        """

    def find_vms(self, scope: ScopeT_contra, name: str) -> Iterable[VMT]:
        """Return the VMs of one machine, usually none or one (C12).

        Used where MCM gives no provider ID: always by CreateMachine, now and then by the other
        calls. It looks through `list_vms`; override it if your cloud can filter by what holds
        the machine's name.
        """
        return [vm for vm in self.list_vms(scope) if vm.name == name]

    @abstractmethod
    def get_vm(self, scope: ScopeT_contra, provider_id: str) -> VMT | None:
        """Return the VM with this provider ID, or None if there is none.

        Used wherever MCM gives a provider ID (C20), and to look at a VM while it is made,
        stopped or deleted. Don't check name or tags: the rules do, and people may have changed
        the name. Where the ID has a part that your scope has a field for, such as the region,
        `scope` already says what the ID says.
        """

    @abstractmethod
    def create_vm(self, name: str, spec: SpecT_contra, secrets: SecretsT_contra) -> VMT:
        """Ask the cloud for a VM, and return it in whatever state it is.

        Used by CreateMachine when the machine has no VM. Store the machine's name, the cluster
        and the role with the VM in the same call, so that nothing is lost if the process ends
        right after it (C14). If the cloud takes a client token, give it one made of these
        three, so that a call whose answer was lost makes no second VM (C15).
        """

    def advance_vm(self, vm: VMT, spec: SpecT_contra, secrets: SecretsT_contra) -> None:
        """Do what is still to do for a VM that is `CREATING`, as far as it can be done now.

        Used by CreateMachine again and again, with a fresh look at the VM each time, until it is
        finished: also for one that an earlier try, or an earlier process, began. So derive what
        to do from what is there (no disk yet? create it. No network? attach it), and let each
        step be one that may be repeated. Don't wait for the cloud. Raise what an action failed
        with. A cloud that makes a VM in one call has nothing to do here, so it does nothing.
        """

    @abstractmethod
    def differences(self, vm: VMT, spec: SpecT_contra) -> Sequence[str]:
        """Return the fields of the spec, as in YAML, that the VM was not made from (C11).

        Used by CreateMachine when the machine has a VM already: one that differs is refused
        with ALREADY_EXISTS. Compare what can't be changed on a VM. Leave out what the VM gets
        later in its creation.
        """

    @abstractmethod
    def stop_vm(self, vm: VMT) -> None:
        """Ask the cloud to stop a running VM. Used by ShutDownMachine (C34)."""

    @abstractmethod
    def delete_vm(self, vm: VMT) -> None:
        """Ask the cloud to delete a VM, whatever its state; nothing happens if it is gone.

        Used by DeleteMachine (C22), and by CreateMachine for a `FAILED` one.
        """

    @abstractmethod
    def list_leftovers(self, scope: ScopeT_contra, name: str | None = None) -> Iterable[Leftover]:
        """Return what VMs of the cluster and role that are gone have left behind, on all pages.

        Used by DeleteMachine, which deletes those of its machine (C22), and by ListMachines,
        which lists them all so that MCM's orphan collection deletes them if the Machine is gone
        (C29). What belongs to a VM that is still there is none. Return nothing if your cloud
        deletes everything with the VM.

        Args:
            scope: The cluster and the role.
            name: The machine whose leftovers are wanted; None for those of all machines. You
                may return more: the rules pick.
        """

    @abstractmethod
    def delete_leftover(self, leftover: Leftover) -> None:
        """Ask the cloud to delete a leftover; nothing happens if it is gone or on its way out."""
