"""The adapter: does in EC2, through boto3, what the framework's rules ask for.

One call creates an instance. The driver finds it again by its ID, or by its tags: those of the
cluster and the role, and one of the driver's own that holds the machine's name. `cmi.Session`
explains what each method has to do and where it is used.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

from botocore import exceptions

from cmi import (
    InvalidArgument,
    Leftover,
    PersistentVolumeSpec,
    Session,
    VMState,
    spec_differences,
)

from .apis.provider_spec import MACHINE_TAG, Credentials, MachineScope, ProviderSpec, Secrets
from .clients import Clients, check_environment
from .errors import ERRORS, code_of
from .instances import (
    PROVIDER_ID,
    Instance,
    filters_of,
    instance_of,
    interface_of,
    volume_of,
)
from .request import Arguments, client_token, launch_request
from .steps import take_steps

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef

__all__ = ["ERRORS", "PROVIDER_ID", "Cloud", "volume_id"]

CSI_DRIVER: Final = "ebs.csi.aws.com"
PAGE_SIZE: Final = 100


def volume_id(volume: PersistentVolumeSpec) -> str | None:
    """Return the ID of an EBS volume, or None for any other volume (C38)."""
    if handle := volume.csi_handle(CSI_DRIVER):
        return handle
    in_tree = volume.source("awsElasticBlockStore") or {}
    found = in_tree.get("volumeID")
    # aws://eu-west-1a/vol-0abc, or the ID alone
    return found.rpartition("/")[2] or None if isinstance(found, str) else None


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    """Ignore the EC2 errors with these codes."""
    try:
        yield
    except exceptions.ClientError as error:
        if code_of(error) not in codes:
            raise


class Cloud:
    """EC2, for any account."""

    def __init__(self) -> None:
        self._clients = Clients()

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud. boto3 itself reads variables such as AWS_ENDPOINT_URL_EC2."""
        return cls()

    def is_ready(self) -> bool:
        """Check that boto3 can use the environment; credentials come with each call (C6)."""
        check_environment()
        return True

    def login(self, credentials: Credentials) -> "EC2Session":
        """Return a session with the Secret's credentials; EC2 checks them in every call."""
        return EC2Session(self._clients, credentials)


class EC2Session(Session[MachineScope, ProviderSpec, Secrets, Instance]):
    """The calls to EC2, made with the credentials of one Secret."""

    def __init__(self, clients: Clients, credentials: Credentials) -> None:
        self._clients = clients
        self._credentials = credentials

    def list_vms(self, scope: MachineScope) -> list[Instance]:
        """Return the instances that carry the scope's tags."""
        return self._instances(scope.region, filters_of(scope, {}))

    def find_vms(self, scope: MachineScope, name: str) -> list[Instance]:
        """Return those that also have the machine's name in any tag."""
        return self._instances(scope.region, filters_of(scope, {"tag-value": name}))

    def get_vm(self, scope: MachineScope, provider_id: str) -> Instance | None:
        """Return the instance with this ID; a filter, unlike a look-up, may find nothing."""
        instance_id = PROVIDER_ID.parse(provider_id)["id"]
        by_id: FilterTypeDef = {"Name": "instance-id", "Values": [instance_id]}
        found = self._instances(scope.region, [by_id])
        return next((each for each in found if each.id == instance_id), None)

    def create_vm(self, name: str, spec: ProviderSpec, secrets: Secrets) -> Instance:
        """Launch an instance, or return the one that a call with the same client token launched.

        EC2 refuses a token that comes with different arguments and, for at least a day, a token
        whose instance is terminated. So the token is a digest of all arguments and a number, and
        the number only goes up when the instance of the previous one is terminated.
        """
        client = self._client(spec.region)
        request = launch_request(name, spec, secrets, self._image(spec))
        tokens = self._tokens(name, spec, request)
        while True:
            try:
                (made,) = client.run_instances(**request, ClientToken=next(tokens))["Instances"]
                return instance_of(made, spec.region)
            except exceptions.ClientError as error:
                if code_of(error) != "IdempotentInstanceTerminated":
                    raise

    def advance_vm(self, vm: Instance, spec: ProviderSpec, secrets: Secrets) -> None:
        """Do what RunInstances can't do; an interface may not be visible yet."""
        with _ignoring("InvalidNetworkInterfaceID.NotFound", "InvalidInstanceID.NotFound"):
            take_steps(self._client(vm.region), vm, spec)

    def differences(self, vm: Instance, spec: ProviderSpec) -> list[str]:
        """Compare fingerprints: EC2 does not report every field, and some may change."""
        return spec_differences(vm.made_from, spec)

    def stop_vm(self, vm: Instance) -> None:
        """Start stopping the instance."""
        self._client(vm.region).stop_instances(InstanceIds=[vm.id])

    def delete_vm(self, vm: Instance) -> None:
        """Start terminating the instance. EC2 deletes its volumes if they are still attached."""
        with _ignoring("InvalidInstanceID.NotFound"):
            self._client(vm.region).terminate_instances(InstanceIds=[vm.id])

    def list_leftovers(self, scope: MachineScope, name: str | None = None) -> list[Leftover]:
        """Return the unused resources of machines that no longer have an instance."""
        unused = filters_of(scope, {f"tag:{MACHINE_TAG}": name or "*", "status": "available"})
        # They come first: otherwise, an instance launched in between could lose its resources.
        leftovers = [*self._volumes(scope.region, unused), *self._interfaces(scope.region, unused)]
        vms = self.list_vms(scope) if leftovers else []
        alive = {vm.name for vm in vms if vm.state is not VMState.GONE}
        return [each for each in leftovers if each.machine not in alive]

    def delete_leftover(self, leftover: Leftover) -> None:
        """Delete the volume or the network interface."""
        client = self._client(PROVIDER_ID.parse(leftover.provider_id)["region"])
        with _ignoring("InvalidVolume.NotFound", "InvalidNetworkInterfaceID.NotFound"):
            if leftover.kind == "volume":
                client.delete_volume(VolumeId=leftover.id)
            else:
                client.delete_network_interface(NetworkInterfaceId=leftover.id)

    def _tokens(self, name: str, spec: ProviderSpec, request: Arguments) -> Iterator[str]:
        """Yield the tokens of a request in order, skipping those that EC2 reports as used up."""
        yield client_token(request, 0)
        vms = self.find_vms(spec, name)
        spent = {vm.client_token for vm in vms if vm.state is VMState.GONE}
        later = (client_token(request, number) for number in count(1))
        yield from (token for token in later if token not in spent)

    def _image(self, spec: ProviderSpec) -> "ImageTypeDef":
        images = self._client(spec.region).describe_images(ImageIds=[spec.ami])["Images"]
        if not images:
            raise InvalidArgument(
                f"providerSpec.ami: there is no image {spec.ami} for this account"
            )
        return images[0]

    def _instances(self, region: str, filters: "Sequence[FilterTypeDef]") -> list[Instance]:
        """Return the instances that match the filters, from all pages (C31)."""
        paginator = self._client(region).get_paginator("describe_instances")
        pages = paginator.paginate(Filters=filters, PaginationConfig={"PageSize": PAGE_SIZE})
        reservations = (reservation for page in pages for reservation in page["Reservations"])
        return [instance_of(one, region) for each in reservations for one in each["Instances"]]

    def _volumes(self, region: str, filters: "Sequence[FilterTypeDef]") -> list[Leftover]:
        paginator = self._client(region).get_paginator("describe_volumes")
        pages = paginator.paginate(Filters=filters, PaginationConfig={"PageSize": PAGE_SIZE})
        return [volume_of(each, region) for page in pages for each in page["Volumes"]]

    def _interfaces(self, region: str, filters: "Sequence[FilterTypeDef]") -> list[Leftover]:
        paginator = self._client(region).get_paginator("describe_network_interfaces")
        pages = paginator.paginate(Filters=filters, PaginationConfig={"PageSize": PAGE_SIZE})
        return [interface_of(each, region) for page in pages for each in page["NetworkInterfaces"]]

    def _client(self, region: str) -> "EC2Client":
        return self._clients.client(self._credentials, region)
