"""The adapter: does in EC2, through boto3, what the framework's rules ask for.

One call creates an instance. The driver finds it again by its ID, or by its tags: those of the
cluster and the role, and one of the driver's own that holds the machine's name. `cmi.Session`
explains what each method has to do and where it is used.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions

from cmi import (
    VM,
    FailedPrecondition,
    Leftover,
    PersistentVolumeSpec,
    ProviderIdFormat,
    Session,
    VMState,
    spec_differences,
    spec_fingerprint,
)

from .apis.provider_spec import (
    MACHINE_TAG,
    SPEC_TAG,
    Credentials,
    MachineScope,
    ProviderSpec,
    Secrets,
)
from .errors import ERRORS, code_of, refusal

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, TagTypeDef, VolumeTypeDef

__all__ = ["ERRORS", "PROVIDER_ID", "Cloud", "volume_id"]

PROVIDER_ID: Final = ProviderIdFormat("aws:///{region}/{id}")
SCOPE_TAGS: Final = MachineScope.scope_tags
PAGE_SIZE: Final = 100
MAX_CLIENTS: Final = 32

STATES: Final = {
    "pending": VMState.CREATING,
    "running": VMState.RUNNING,
    "stopping": VMState.STOPPED,
    "stopped": VMState.STOPPED,
    "shutting-down": VMState.DELETING,
    "terminated": VMState.GONE,  # EC2 shows it for about an hour
}


@dataclass(frozen=True, kw_only=True)
class Instance(VM):
    """An EC2 instance, as the rules see it.

    Attributes:
        id: The instance ID.
        region: The region it runs in.
        client_token: The client token of the call that launched it.
        made_from: The fingerprint of the spec it was created from.
    """

    id: str
    region: str
    client_token: str
    made_from: str


def volume_id(volume: PersistentVolumeSpec) -> str | None:
    """Return the ID of an EBS volume, or None for any other volume (C38)."""
    if handle := volume.csi_handle("ebs.csi.aws.com"):
        return handle
    in_tree = volume.source("awsElasticBlockStore") or {}
    found = in_tree.get("volumeID")
    # aws://eu-west-1a/vol-0abc, or the ID alone
    return found.rpartition("/")[2] or None if isinstance(found, str) else None


class Cloud:
    """EC2, for any account.

    Creating a client takes time, so a limited number of them is cached. The access key is part
    of the cache key, so a rotated access key takes effect with the next call.
    """

    def __init__(self) -> None:
        self._clients = lru_cache(MAX_CLIENTS)(self._new_client)
        self._creating = threading.Lock()

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud. boto3 itself reads variables such as AWS_ENDPOINT_URL_EC2."""
        return cls()

    def is_ready(self) -> bool:
        """Check that boto3 can use the environment; credentials come with each call (C6)."""
        bundle = os.environ.get("AWS_CA_BUNDLE")
        if bundle and not Path(bundle).exists():
            raise FailedPrecondition(f"AWS_CA_BUNDLE names {bundle}, which does not exist")
        return True

    def login(self, credentials: Credentials) -> "EC2Session":
        """Return a session with the Secret's access key; EC2 checks the key in every call."""
        return EC2Session(self, credentials)

    def client(self, credentials: Credentials, region: str) -> "EC2Client":
        """Return the EC2 client for an access key and a region."""
        key = credentials.access_key_id.get_secret_value()
        secret = credentials.secret_access_key.get_secret_value()
        with self._creating:  # boto3 can't create two clients at the same time
            return self._clients(region, key, secret)

    def _new_client(self, region: str, key: str, secret: str) -> "EC2Client":
        import boto3  # slow to import, and the process can start without it
        from botocore.config import Config

        # With one retry at most about 30 s, well within the deadline of a machine call.
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        return boto3.client(
            "ec2", region, aws_access_key_id=key, aws_secret_access_key=secret, config=config
        )


@contextmanager
def _ignoring(code: str) -> Iterator[None]:
    """Ignore the EC2 error with this code."""
    try:
        yield
    except exceptions.ClientError as error:
        if code_of(error) != code:
            raise


class EC2Session(Session[MachineScope, ProviderSpec, Secrets, Instance]):
    """The calls to EC2, made with one access key."""

    def __init__(self, cloud: Cloud, credentials: Credentials) -> None:
        self._cloud = cloud
        self._credentials = credentials

    def list_vms(self, scope: MachineScope) -> list[Instance]:
        """Return the instances that carry the scope's tags."""
        return self._instances(scope.region, _filters(scope))

    def find_vms(self, scope: MachineScope, name: str) -> list[Instance]:
        """Return those whose tag holds the machine's name; EC2 treats * and ? as wildcards."""
        return self._instances(scope.region, _filters(scope, name))

    def get_vm(self, scope: MachineScope, provider_id: str) -> Instance | None:
        """Return the instance with this ID; a filter, unlike a look-up, may find nothing."""
        instance_id = PROVIDER_ID.parse(provider_id)["id"]
        found = self._instances(scope.region, {"instance-id": instance_id})
        return next((each for each in found if each.id == instance_id), None)

    def create_vm(self, name: str, spec: ProviderSpec, secrets: Secrets) -> Instance:
        """Launch an instance, or return the one that a call with the same client token launched.

        EC2 refuses a token that comes with different arguments and, for at least a day, a token
        whose instance is terminated. So the token is a digest of all arguments and a number, and
        the number only goes up when the instance of the previous one is terminated.
        """
        client = self._client(spec.region)
        (image,) = client.describe_images(ImageIds=[spec.ami])["Images"]
        request = _request(name, spec, secrets, image["RootDeviceName"])
        tokens = self._tokens(name, spec, request)
        while True:
            try:
                (made,) = client.run_instances(**request, ClientToken=next(tokens))["Instances"]
                return _instance(made, spec.region)
            except exceptions.ClientError as error:
                if code_of(error) != "IdempotentInstanceTerminated":
                    raise

    def differences(self, vm: Instance, spec: ProviderSpec) -> list[str]:
        """Compare fingerprints: EC2 does not report every field, and some may change."""
        return spec_differences(vm.made_from, spec)

    def stop_vm(self, vm: Instance) -> None:
        """Start stopping the instance."""
        self._client(vm.region).stop_instances(InstanceIds=[vm.id])

    def delete_vm(self, vm: Instance) -> None:
        """Start terminating the instance. EC2 deletes its volume if it is still attached."""
        with _ignoring("InvalidInstanceID.NotFound"):
            self._client(vm.region).terminate_instances(InstanceIds=[vm.id])

    def list_leftovers(self, scope: MachineScope, name: str | None = None) -> list[Leftover]:
        """Return the unused volumes of machines that no longer have an instance."""
        paginator = self._client(scope.region).get_paginator("describe_volumes")
        filters = {**_filters(scope, name or "*"), "status": "available"}
        # Volumes come first: otherwise, an instance launched in between could lose its volume.
        volumes = [
            _leftover(each, scope.region)
            for page in paginator.paginate(**_page_by_page(filters))
            for each in page["Volumes"]
        ]
        vms = self.list_vms(scope) if volumes else []
        alive = {vm.name for vm in vms if vm.state is not VMState.GONE}
        return [volume for volume in volumes if volume.machine not in alive]

    def delete_leftover(self, leftover: Leftover) -> None:
        """Delete the volume."""
        region = PROVIDER_ID.parse(leftover.provider_id)["region"]
        with _ignoring("InvalidVolume.NotFound"):
            self._client(region).delete_volume(VolumeId=leftover.id)

    def _tokens(self, name: str, spec: ProviderSpec, request: dict[str, Any]) -> Iterator[str]:
        """Yield the tokens of a request in order, skipping those that EC2 reports as used up."""
        yield _digest([request, 0])
        vms = self.find_vms(spec, name)
        spent = {vm.client_token for vm in vms if vm.state is VMState.GONE}
        later = (_digest([request, number]) for number in count(1))
        yield from (token for token in later if token not in spent)

    def _instances(self, region: str, filters: Mapping[str, str]) -> list[Instance]:
        """Return the instances that match the filters, from all pages (C31)."""
        paginator = self._client(region).get_paginator("describe_instances")
        pages = paginator.paginate(**_page_by_page(filters))
        reservations = (reservation for page in pages for reservation in page["Reservations"])
        return [_instance(one, region) for each in reservations for one in each["Instances"]]

    def _client(self, region: str) -> "EC2Client":
        return self._cloud.client(self._credentials, region)


def _filters(scope: MachineScope, name: str | None = None) -> dict[str, str]:
    """Return the filters for all resources of the scope, or for those of one machine."""
    filters = {
        f"tag:{SCOPE_TAGS.cluster_prefix}{scope.cluster}": "*",
        f"tag:{SCOPE_TAGS.role_prefix}{scope.role}": "*",
    }
    return filters if name is None else {**filters, f"tag:{MACHINE_TAG}": name}


def _page_by_page(filters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Filters": [{"Name": name, "Values": [value]} for name, value in filters.items()],
        "PaginationConfig": {"PageSize": PAGE_SIZE},
    }


def _instance(instance: "InstanceTypeDef", region: str) -> Instance:
    tags = _tags(instance.get("Tags", []))
    reason = instance.get("StateReason", {})
    code, message = reason.get("Code", ""), reason.get("Message", "")
    return Instance(
        name=tags.get(MACHINE_TAG, ""),
        provider_id=PROVIDER_ID.format(region=region, id=instance["InstanceId"]),
        node_name=instance.get("PrivateDnsName", ""),
        cluster=SCOPE_TAGS.cluster(tags),
        role=SCOPE_TAGS.role(tags),
        state=STATES[instance["State"]["Name"]],
        failure=refusal(code, message) if code else None,
        id=instance["InstanceId"],
        region=region,
        client_token=instance.get("ClientToken", ""),
        made_from=tags.get(SPEC_TAG, ""),
    )


def _leftover(volume: "VolumeTypeDef", region: str) -> Leftover:
    tags = _tags(volume.get("Tags", []))
    return Leftover(
        kind="volume",
        id=volume["VolumeId"],
        machine=tags.get(MACHINE_TAG, ""),
        provider_id=PROVIDER_ID.format(region=region, id=volume["VolumeId"]),
        cluster=SCOPE_TAGS.cluster(tags),
        role=SCOPE_TAGS.role(tags),
    )


def _tags(tags: "list[TagTypeDef]") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _request(name: str, spec: ProviderSpec, secrets: Secrets, root: str) -> dict[str, Any]:
    """Return the arguments of RunInstances."""
    made_from = spec_fingerprint(spec, leave_out={"tags", "region"})
    tags = {"Name": name, **spec.tags, MACHINE_TAG: name, SPEC_TAG: made_from}
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    (device,), (interface,) = spec.block_devices, spec.network_interfaces
    request: dict[str, Any] = {
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": spec.ami,
        "InstanceType": spec.machine_type,
        "SubnetId": interface.subnet_id,
        "SecurityGroupIds": interface.security_group_ids,
        "BlockDeviceMappings": [
            {
                "DeviceName": root,
                "Ebs": {
                    "VolumeSize": device.ebs.volume_size,
                    "VolumeType": device.ebs.volume_type,
                    "Encrypted": device.ebs.encrypted,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "UserData": secrets.user_data.get_secret_value(),
        # A volume that carries the driver's tags but no longer has an instance is a leftover.
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tag_list} for kind in ("instance", "volume")
        ],
    }
    if spec.iam:
        request["IamInstanceProfile"] = {"Name": spec.iam.name}
    return request


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
