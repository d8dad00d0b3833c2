"""The adapter: does on hosts with libvirt what the framework's rules ask for.

A VM is made in steps. First its domain is defined, with the driver's record in it, so that nothing
is lost if the process ends after any step. Then its volumes are made, and it is started. The last
step notes in the record that it is finished. `cmi.Session` explains what each method has to do and
where it is used.
"""

import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import libvirt
from cmi import (
    VM,
    InvalidArgument,
    Leftover,
    ProviderIdFormat,
    Session,
    VMState,
    spec_differences,
    spec_fingerprint,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets
from .domain import Record, domain_xml
from .errors import ERRORS, meaning
from .hosts import Connections, hosts_from_environment
from .hypervisor import DomainInfo, Hypervisor
from .seed import seed_image
from .volumes import VolumeName, check_size, disk_xml, seed_xml, volume_names

__all__ = ["ERRORS", "PROVIDER_ID", "Cloud"]

PROVIDER_ID: Final = ProviderIdFormat("libvirt:///{host}/{id}")

STATES: Final = {
    libvirt.VIR_DOMAIN_RUNNING: VMState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: VMState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: VMState.RUNNING,  # it is shutting down
    libvirt.VIR_DOMAIN_PAUSED: VMState.STOPPED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VMState.STOPPED,
    libvirt.VIR_DOMAIN_SHUTOFF: VMState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: VMState.STOPPED,
    libvirt.VIR_DOMAIN_NOSTATE: VMState.STOPPED,
}
"""The states of a domain that has been started. Until then it is `CREATING`, or has `FAILED`."""

INACTIVE: Final = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED)


@dataclass(frozen=True, kw_only=True)
class Domain(VM):
    """A domain, as the rules see it.

    Attributes:
        id: Its UUID.
        host: The name of its host.
        is_active: Whether it runs, or is paused.
        record: What the driver has noted in it.
    """

    id: str
    host: str
    is_active: bool
    record: Record


class Cloud:
    """The hosts in the operator's list."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud, configured from `LIBVIRT_HOSTS`.

        Raises:
            StartupError: The variable is missing or malformed.
        """
        return cls(Connections(hosts_from_environment()))

    def is_ready(self) -> bool:
        """Check that a host answers; credentials come with each call (C6)."""
        self._connections.check()
        return True

    def login(self, credentials: Credentials) -> "LibvirtSession":
        """Return a session with the Secret's credentials, if a host asks for any."""
        return LibvirtSession(self._connections, credentials)


class LibvirtSession(Session[MachineScope, ProviderSpec, Secrets, Domain]):
    """The calls to libvirt, made with the credentials of one Secret."""

    def __init__(self, connections: Connections, credentials: Credentials) -> None:
        self._connections = connections
        self._credentials = credentials

    def list_vms(self, scope: MachineScope) -> list[Domain]:
        """Return the domains in which the driver has noted something; libvirt has no filters."""
        found = self._host(scope.host).list_domains()
        return [_vm(scope.host, info, info.record) for info in found if info.record]

    def get_vm(self, scope: MachineScope, provider_id: str) -> Domain | None:
        """Return the domain with this ID, unless it is somebody else's."""
        parts = PROVIDER_ID.parse(provider_id)
        info = self._host(parts["host"]).get_domain(_uuid(parts["id"]))
        return _vm(parts["host"], info, info.record) if info and info.record else None

    def create_vm(self, name: str, spec: ProviderSpec, secrets: Secrets) -> Domain:
        """Define the domain, which refers to volumes that don't exist yet.

        A retry finds it by its record, so its ID can be any. What the host does not have is
        refused before: a domain that can't be started would have to be deleted again.
        """
        host = self._host(spec.host)
        check_size(spec, host.get_image(spec.pool, spec.image))
        for network in spec.networks:
            if network.network:
                host.check_network(network.network)
        if not secrets.user_data.get_secret_value():
            raise InvalidArgument("secrets.userData: is missing or empty")
        domain_id = str(uuid.uuid4())
        record = Record(
            name=name,
            cluster=spec.cluster,
            role=spec.role,
            made_from=spec_fingerprint(spec, leave_out={"tags", "host"}),
            tags=spec.tags,
        )
        volumes = volume_names(spec, name, domain_id, [disk.name for disk in spec.disks])
        host.define_domain(record, domain_xml(domain_id, record, spec, volumes))
        return _vm(spec.host, DomainInfo(domain_id, libvirt.VIR_DOMAIN_SHUTOFF, record), record)

    def advance_vm(self, vm: Domain, spec: ProviderSpec, secrets: Secrets) -> None:
        """Make the volumes, start the domain, and note that it is finished.

        Nobody knows whether a volume of an earlier call is complete. So as long as the domain
        has not been started, all of them are made again.
        """
        host = self._host(vm.host)
        if not vm.is_active:
            self._make_volumes(host, vm, spec, secrets)
            try:
                host.start_domain(vm.id, autostart=spec.autostart)
            except libvirt.libvirtError as error:
                refusal = meaning(error)
                if not isinstance(refusal, InvalidArgument):
                    raise
                failed = replace(vm.record, failure=str(refusal))
                host.write_record(vm.id, failed, is_running=False)
                return
        host.write_record(vm.id, replace(vm.record, is_finished=True), is_running=True)

    def differences(self, vm: Domain, spec: ProviderSpec) -> list[str]:
        """Compare with the fingerprint of the spec that the domain was created from."""
        return spec_differences(vm.record.made_from, spec)

    def stop_vm(self, vm: Domain) -> None:
        """Ask the system in the VM to shut down."""
        self._host(vm.host).shut_down_domain(vm.id)

    def delete_vm(self, vm: Domain) -> None:
        """End the domain and remove it. Its volumes stay and become leftovers."""
        host = self._host(vm.host)
        host.destroy_domain(vm.id)
        host.undefine_domain(vm.id)
        host.refresh_pools()

    def list_leftovers(self, scope: MachineScope, name: str | None = None) -> list[Leftover]:
        """Return the volumes whose domain is gone."""
        host = self._host(scope.host)
        volumes = host.list_volumes()  # first, or a new domain could lose its volumes
        named = [(each, own) for each in volumes if (own := VolumeName.parse(each.name))]
        there = host.list_domain_ids() if named else set()
        return [
            Leftover(
                kind="volume",
                id=f"{volume.pool}/{volume.name}",
                machine=own.machine,
                provider_id=PROVIDER_ID.format(host=scope.host, id=own.domain_id),
                cluster=own.cluster,
                role=own.role,
            )
            for volume, own in named
            if own.domain_id not in there
        ]

    def delete_leftover(self, leftover: Leftover) -> None:
        """Delete the volume."""
        host = PROVIDER_ID.parse(leftover.provider_id)["host"]
        pool, _, name = leftover.id.partition("/")
        self._host(host).delete_volume(pool, name)

    def _make_volumes(
        self, host: Hypervisor, vm: Domain, spec: ProviderSpec, secrets: Secrets
    ) -> None:
        image = host.get_image(spec.pool, spec.image)
        *disks, seed = volume_names(spec, vm.name, vm.id, [disk.name for disk in spec.disks])
        for name, disk in zip(disks, spec.disks, strict=True):
            source = image if disk is spec.disks[0] else None
            host.create_volume(spec.pool, name, disk_xml(name, disk.size_gib, source))
        content = seed_image(vm.name, vm.id, secrets.user_data.get_secret_value())
        host.create_volume(spec.pool, seed, seed_xml(seed, len(content)), content)

    def _host(self, name: str) -> Hypervisor:
        return Hypervisor(partial(self._connections.connect, name, self._credentials))


def _vm(host: str, info: DomainInfo, record: Record) -> Domain:
    state = STATES[info.state]
    if not record.is_finished:
        state = VMState.FAILED if record.failure else VMState.CREATING
    return Domain(
        name=record.name,
        provider_id=PROVIDER_ID.format(host=host, id=info.id),
        node_name=record.name,  # the seed has given it to the VM, whatever the domain is called now
        cluster=record.cluster,
        role=record.role,
        state=state,
        failure=InvalidArgument(record.failure) if record.failure else None,
        id=info.id,
        host=host,
        is_active=info.state not in INACTIVE,
        record=record,
    )


def _uuid(text: str) -> str:
    """Return an ID in the form of a UUID; one that is none is that of no domain."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.UUID(int=0))
