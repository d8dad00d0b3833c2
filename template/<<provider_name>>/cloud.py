"""The adapter: carries out the requests of the framework's rules in your cloud.

As rendered, it calls the embedded cloud, which has the shape of an SDK. Replace it call by call
with your SDK. `cmi.Session` explains what each method has to do and where it is used.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pydantic.alias_generators import to_camel

from cmi import (
    VM,
    AddressType,
    ErrorTable,
    FailedPrecondition,
    InvalidArgument,
    Leftover,
    NodeAddress,
    NotFound,
    OutOfRange,
    PermissionDenied,
    PersistentVolumeSpec,
    ProviderIdFormat,
    ResourceExhausted,
    Session,
    StartupError,
    Throttled,
    Unauthenticated,
    Unavailable,
    VMState,
    instrumented,
    spec_differences,
    spec_fingerprint,
)

from . import embedded_cloud as sdk
from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets

PROVIDER: Final = __name__.partition(".")[0]
"""The provider's name, which is the name of this package."""

PROVIDER_ID: Final = ProviderIdFormat(PROVIDER + ":///{region}/{id}")
"""The form of provider IDs, the same as `node.spec.providerID` on a VM's node."""

CLUSTER_LABEL: Final = "machine-cluster"
ROLE_LABEL: Final = "machine-role"
NAME_LABEL: Final = "machine-name"
SPEC_LABEL: Final = "machine-spec"
"""The driver's own labels, by which it finds VMs and disks: `_labels` writes them, `_vm` and
`_leftover` read them. They differ from the tags because some clouds allow no `/` in a label."""

CSI_DRIVER: Final = "csi.embedded.cloud"
FLEX_VOLUME_DRIVER: Final = "embedded.cloud/disk"

STATES: Final = {
    "creating": VMState.CREATING,
    "created": VMState.CREATING,  # starting it is the last step
    "running": VMState.RUNNING,
    "stopped": VMState.STOPPED,
    "deleting": VMState.DELETING,
}


def _no_such_value(error: sdk.NoSuchValueError) -> InvalidArgument:
    return InvalidArgument(f"providerSpec.{to_camel(error.field)}: {error}")


ERRORS: Final[ErrorTable] = {
    sdk.UnknownTokenError: Unauthenticated,
    sdk.ReadOnlyTokenError: PermissionDenied,
    sdk.NotFoundError: NotFound,
    sdk.NoSuchValueError: _no_such_value,
    sdk.NotRunningError: FailedPrecondition,
    sdk.SizeError: OutOfRange,
    sdk.QuotaError: ResourceExhausted,
    sdk.CapacityError: ResourceExhausted,
    sdk.ThrottledError: Throttled,
    sdk.CloudDownError: Unavailable,
}
"""What the SDK's exceptions mean to the caller (C13, C44)."""


@dataclass(frozen=True, kw_only=True)
class CloudVM(VM):
    """One of the cloud's servers, as the rules see it."""

    server: sdk.Server


class Cloud:
    """The cloud, for any account: credentials come with each call."""

    def __init__(self, cloud: sdk.EmbeddedCloud) -> None:
        self._cloud = cloud

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud, configured from environment variables.

        Raises:
            StartupError: The configuration is wrong.
        """
        try:
            return cls(sdk.EmbeddedCloud.from_environment())
        except (ValueError, sdk.CloudDownError) as error:
            raise StartupError(str(error)) from None

    def is_ready(self) -> bool:
        """Check that the cloud can be used; its errors say why it can't (C6)."""
        return self._cloud.is_up()

    def login(self, credentials: Credentials) -> "CloudSession":
        """Return a session with the Secret's API token; the cloud checks it in every call."""
        client = sdk.Client(self._cloud, credentials.api_token.get_secret_value())
        return CloudSession(instrumented(client))  # each of its methods is one API request


class CloudSession(Session[MachineScope, ProviderSpec, Secrets, CloudVM]):
    """The calls to the cloud, made with one API token."""

    def __init__(self, client: sdk.Client) -> None:
        self._client = client

    def list_vms(self, scope: MachineScope) -> list[CloudVM]:
        """Return the servers that carry the scope's labels."""
        return [_vm(server) for server in self._servers(_labels(scope), scope.region)]

    def find_vms(self, scope: MachineScope, name: str) -> list[CloudVM]:
        """Return the servers whose label contains the machine's name."""
        return [_vm(server) for server in self._servers(_labels(scope, name), scope.region)]

    def get_vm(self, scope: MachineScope, provider_id: str) -> CloudVM | None:
        """Return the server with this ID."""
        server = self._server(scope.region, PROVIDER_ID.parse(provider_id)["id"])
        return _vm(server) if server else None

    def create_vm(self, name: str, spec: ProviderSpec, secrets: Secrets) -> CloudVM:
        """Start creating a server; the request token makes a repeated call harmless."""
        _check_sizes(spec)
        made_from = spec_fingerprint(spec, leave_out={"tags", "region"})
        server = self._client.create_server(
            spec.region,
            name,
            image=spec.image,
            machine_type=spec.machine_type,
            labels={**spec.tags, **_labels(spec, name), SPEC_LABEL: made_from},
            user_data=secrets.user_data.get_secret_value(),
            request_token=_digest(spec.region, spec.cluster, spec.role, name),
        )
        return _vm(server)

    def advance_vm(self, vm: CloudVM, spec: ProviderSpec, secrets: Secrets) -> None:
        """Attach the network, create the disks, start the server: do what is still missing."""
        server = vm.server
        if server.action.status == "succeeded" and not server.subnet:
            network = spec.network
            server = self._client.attach_network(server, network.subnet, network.security_groups)
        if server.action.status == "running":
            return  # the cloud runs one action at a time; the rules call again
        for disk in spec.disks:
            self._client.create_disk(server, disk.name, disk.size_gib, disk.type, server.labels)
        self._client.start_server(server)

    def initialize_vm(self, vm: CloudVM, spec: ProviderSpec, secrets: Secrets) -> None:
        """Let the server forward packets of Pods, which the cloud allows only once it runs."""
        self._client.allow_forwarding(vm.server)

    def differences(self, vm: CloudVM, spec: ProviderSpec) -> Sequence[str]:
        """Compare with the fingerprint of the spec that the server was created from."""
        return spec_differences(vm.server.labels.get(SPEC_LABEL, ""), spec)

    def stop_vm(self, vm: CloudVM) -> None:
        """Start stopping the server."""
        self._client.stop_server(vm.server)

    def delete_vm(self, vm: CloudVM) -> None:
        """Start deleting the server. Its disks stay and become leftovers."""
        with suppress(sdk.NotFoundError):
            self._client.delete_server(vm.server.region, vm.server.id)

    def list_leftovers(self, scope: MachineScope, name: str | None = None) -> list[Leftover]:
        """Return the disks whose server is gone."""
        labels = _labels(scope, name)
        disks = [*self._disks(labels, scope.region)]  # first, or a new server could lose its disk
        listed = {server.id for server in self._servers(labels, scope.region)} if disks else set()
        missing = {disk.server_id for disk in disks} - listed
        # A list may lag behind, and a disk in use must not be deleted, so ask for each server.
        gone = {each for each in missing if self._server(scope.region, each) is None}
        return [_leftover(disk) for disk in disks if disk.server_id in gone]

    def delete_leftover(self, leftover: Leftover) -> None:
        """Delete the disk."""
        region = PROVIDER_ID.parse(leftover.provider_id)["region"]
        with suppress(sdk.NotFoundError):
            self._client.delete_disk(region, leftover.id)

    def _server(self, region: str, server_id: str) -> sdk.Server | None:
        try:
            return self._client.get_server(region, server_id)
        except sdk.NotFoundError:
            return None

    def _servers(self, labels: Mapping[str, str], region: str) -> Iterator[sdk.Server]:
        """Yield the servers from all pages (C31)."""
        after: str | None = ""
        while after is not None:
            page = self._client.list_servers(region, labels, after)
            yield from page.items
            after = page.next

    def _disks(self, labels: Mapping[str, str], region: str) -> Iterator[sdk.Disk]:
        """Yield the disks from all pages."""
        after: str | None = ""
        while after is not None:
            page = self._client.list_disks(region, labels, after)
            yield from page.items
            after = page.next


def volume_id(volume: PersistentVolumeSpec) -> str | None:
    """Return this cloud's ID of a volume, or None if the volume is not in this cloud (C38)."""
    if handle := volume.csi_handle(CSI_DRIVER):
        return handle
    in_tree = volume.source("flexVolume")
    if in_tree and in_tree.get("driver") == FLEX_VOLUME_DRIVER:
        options = in_tree.get("options")
        found = options.get("volumeID") if isinstance(options, dict) else None
        return found if isinstance(found, str) else None
    return None


def _labels(scope: MachineScope, name: str | None = None) -> dict[str, str]:
    """Return the labels that all VMs of the scope carry, or those of one machine's VM."""
    labels = {CLUSTER_LABEL: scope.cluster, ROLE_LABEL: scope.role}
    return labels if name is None else {**labels, NAME_LABEL: name}


def _vm(server: sdk.Server) -> CloudVM:
    state = STATES[server.status]
    # A failed action leaves a finished server as it was.
    has_failed = state is VMState.CREATING and server.action.status == "failed"
    return CloudVM(
        name=server.labels.get(NAME_LABEL, ""),
        provider_id=PROVIDER_ID.format(region=server.region, id=server.id),
        node_name=server.labels.get(NAME_LABEL, ""),
        cluster=server.labels.get(CLUSTER_LABEL, ""),
        role=server.labels.get(ROLE_LABEL, ""),
        state=VMState.FAILED if has_failed else state,
        failure=sdk.CapacityError(server.action.error) if has_failed else None,
        addresses=_addresses(server),
        is_initialized=server.forwards,
        server=server,
    )


def _addresses(server: sdk.Server) -> list[NodeAddress]:
    return [NodeAddress(AddressType.INTERNAL_IP, server.address)] if server.address else []


def _leftover(disk: sdk.Disk) -> Leftover:
    return Leftover(
        kind="disk",
        id=disk.id,
        machine=disk.labels.get(NAME_LABEL, ""),
        provider_id=PROVIDER_ID.format(region=disk.region, id=disk.server_id),
        cluster=disk.labels.get(CLUSTER_LABEL, ""),
        role=disk.labels.get(ROLE_LABEL, ""),
    )


def _check_sizes(spec: ProviderSpec) -> None:
    """Refuse a disk that is too large before the server is created (C13)."""
    for index, disk in enumerate(spec.disks):
        if disk.size_gib > sdk.MAX_DISK_GIB:
            raise OutOfRange(
                f"providerSpec.disks[{index}].sizeGiB: {disk.size_gib} is above {sdk.MAX_DISK_GIB}"
            )


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
