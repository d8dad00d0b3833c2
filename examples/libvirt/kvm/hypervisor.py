"""The calls to libvirt that the driver makes, each shaped like a request to a cloud.

libvirt is a C library whose calls block for as long as the host needs, without a timeout. So each
request runs in a thread of its own, which is left alone when the time of its machine call is over.
libvirt carries out one action on a domain or a volume at a time, and each request finds out again
what is there. So a retry does no harm.
"""

from collections.abc import Callable
from functools import partial, wraps
from io import BytesIO
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import libvirt
from cmi import AlreadyExists, ApiRequest, Unavailable, run_blocking

from .domain import NAMESPACE, PREFIX, Record
from .errors import has_number
from .volumes import Image

P = ParamSpec("P")
T = TypeVar("T")

UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
"""What libvirt keeps with a domain, and removes only if it is told to."""


class DomainInfo(NamedTuple):
    """A domain, as libvirt reports it.

    Attributes:
        id: Its UUID.
        state: One of libvirt's `VIR_DOMAIN_…` states.
        record: What the driver has noted; None if it is not the driver's.
    """

    id: str
    state: int
    record: Record | None


class VolumeInfo(NamedTuple):
    """Where a volume is."""

    pool: str
    name: str


def _request(
    method: "Callable[Concatenate[Hypervisor, P], T]",
) -> "Callable[Concatenate[Hypervisor, P], T]":
    """Let a method be one request, which ends with the machine call."""

    @wraps(method)
    def request(self: "Hypervisor", /, *arguments: P.args, **named: P.kwargs) -> T:
        with ApiRequest(method.__name__):
            return run_blocking(partial(method, self, *arguments, **named))

    return request


class _Ignoring:
    """Ignores libvirt's errors with these numbers."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __enter__(self) -> None:
        """Begin to."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        """Tell whether the error is one of them."""
        return isinstance(error, libvirt.libvirtError) and has_number(error, *self._numbers)


class Hypervisor:
    """A host.

    Args:
        connect: Returns a connection to it.
    """

    def __init__(self, connect: Callable[[], libvirt.virConnect]) -> None:
        self._connect = connect

    @_request
    def list_domains(self) -> list[DomainInfo]:
        """Return all domains of the host, also those of others."""
        found = self._connect().getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
        infos = (_info(domain, stats["state.state"]) for domain, stats in found)
        return [info for info in infos if info]

    @_request
    def get_domain(self, domain_id: str) -> DomainInfo | None:
        """Return the domain with this ID."""
        with _Ignoring(libvirt.VIR_ERR_NO_DOMAIN):
            domain = self._connect().lookupByUUIDString(domain_id)
            return _info(domain, domain.state()[0])
        return None

    @_request
    def list_domain_ids(self) -> set[str]:
        """Return the IDs of all domains."""
        return {domain.UUIDString() for domain in self._connect().listAllDomains()}

    @_request
    def define_domain(self, record: Record, xml: str) -> None:
        """Make a domain, which does not run yet.

        Raises:
            AlreadyExists: Another domain has the name.
            Unavailable: An earlier call, which nobody waits for, has just made this one.
        """
        connection = self._connect()
        try:
            connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        except libvirt.libvirtError:
            with _Ignoring(libvirt.VIR_ERR_NO_DOMAIN):
                taken_by = _info(connection.lookupByName(record.name), libvirt.VIR_DOMAIN_NOSTATE)
                if taken_by and taken_by.record and taken_by.record.owner == record.owner:
                    raise Unavailable("an earlier call has just defined the domain") from None
                if taken_by:
                    raise AlreadyExists(
                        f"the host has another domain {record.name}, with the ID {taken_by.id}"
                    ) from None
            raise

    @_request
    def write_record(self, domain_id: str, record: Record, *, is_running: bool) -> None:
        """Write the driver's record: now, and for each later start.

        It fails if the domain has stopped or started meanwhile.
        """
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if is_running:
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        domain = self._connect().lookupByUUIDString(domain_id)
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        domain.setMetadata(kind, record.to_xml(), PREFIX, NAMESPACE, flags)

    @_request
    def start_domain(self, domain_id: str, *, autostart: bool) -> None:
        """Start a domain, and let it start with its host; an earlier call may have started it."""
        domain = self._connect().lookupByUUIDString(domain_id)
        domain.setAutostart(int(autostart))
        try:
            domain.create()
        except libvirt.libvirtError:
            if not domain.isActive():
                raise

    @_request
    def shut_down_domain(self, domain_id: str) -> None:
        """Ask the system in the VM to shut down, as its power button does."""
        self._connect().lookupByUUIDString(domain_id).shutdown()

    @_request
    def destroy_domain(self, domain_id: str) -> None:
        """End a domain at once; do nothing if it does not run."""
        with _Ignoring(libvirt.VIR_ERR_NO_DOMAIN):
            domain = self._connect().lookupByUUIDString(domain_id)
            try:
                domain.destroy()
            except libvirt.libvirtError:
                if domain.isActive():
                    raise

    @_request
    def undefine_domain(self, domain_id: str) -> None:
        """Remove a domain that does not run, with all that libvirt keeps with it."""
        with _Ignoring(libvirt.VIR_ERR_NO_DOMAIN):
            self._connect().lookupByUUIDString(domain_id).undefineFlags(UNDEFINE)

    @_request
    def check_network(self, name: str) -> None:
        """Fail if the host has no such network."""
        self._connect().networkLookupByName(name)

    @_request
    def get_image(self, pool: str, name: str) -> Image:
        """Return a volume that disks can start from."""
        found = self._connect().storagePoolLookupByName(pool).storageVolLookupByName(name)
        return Image.from_xml(found.XMLDesc())

    @_request
    def list_volumes(self) -> list[VolumeInfo]:
        """Return the volumes in all pools that are in use."""
        pools = self._connect().listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        return [
            VolumeInfo(pool.name(), volume.name())
            for pool in pools
            for volume in pool.listAllVolumes()
        ]

    @_request
    def create_volume(self, pool: str, name: str, xml: str, content: bytes = b"") -> None:
        """Make a volume, in place of one that an earlier call may have left unfinished."""
        with _Ignoring(libvirt.VIR_ERR_NO_STORAGE_VOL):
            self._volume(pool, name).delete()
        connection = self._connect()
        volume = connection.storagePoolLookupByName(pool).createXML(xml)
        if content:
            stream = connection.newStream()
            volume.upload(stream, 0, len(content))
            stream.sendAll(lambda _stream, size, source: source.read(size), BytesIO(content))
            stream.finish()

    @_request
    def delete_volume(self, pool: str, name: str) -> None:
        """Delete a volume; do nothing if it is gone."""
        with _Ignoring(libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_STORAGE_POOL):
            self._volume(pool, name).delete()

    @_request
    def refresh_pools(self) -> None:
        """Let libvirt find files that it has not made as volumes, such as those of snapshots."""
        pools = self._connect().listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        for pool in pools:
            with _Ignoring(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_INVALID):
                pool.refresh()  # it refuses while it makes a volume

    def _volume(self, pool: str, name: str) -> libvirt.virStorageVol:
        return self._connect().storagePoolLookupByName(pool).storageVolLookupByName(name)


def _info(domain: libvirt.virDomain, state: int) -> DomainInfo | None:
    """Return what is known of a domain, or None if it has gone meanwhile."""
    record = None
    try:
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        record = Record.from_xml(domain.metadata(kind, NAMESPACE))
    except libvirt.libvirtError as error:
        if has_number(error, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        if not has_number(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            raise
    return DomainInfo(domain.UUIDString(), state, record)
