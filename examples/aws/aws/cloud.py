"""The seam to the cloud: Amazon EC2, by boto3.

`machineserver.py` uses `Cloud`, `Session`, `VM`, `ERRORS` and `volume_id`, and nothing else.
An EC2 instance is made in one call, and found by its tags: those of the cluster and the role,
and `Name`, which holds the machine's name.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions
from pydantic import SecretStr

from cmi import (
    DriverError,
    ErrorTable,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    PersistentVolumeSpec,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    wait_for,
)
from cmi.contract import CLUSTER_TAG, ROLE_TAG

from .apis.provider_spec import (
    NAME_TAG,
    SPEC_TAG,
    BlockDevice,
    Credentials,
    MachineScope,
    ProviderSpec,
)

if TYPE_CHECKING:
    from boto3 import Session as BotoSession
    from botocore.config import Config
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef

CSI_DRIVER: Final = "ebs.csi.aws.com"
PAGE_SIZE: Final = 100
MAX_CLIENTS: Final = 32


class VMState(StrEnum):
    """The state of an instance."""

    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "gone"


STATES: Final = {
    "pending": VMState.CREATING,
    "running": VMState.RUNNING,
    "stopping": VMState.STOPPED,
    "stopped": VMState.STOPPED,
    "shutting-down": VMState.GONE,
    "terminated": VMState.GONE,
}
ALIVE: Final = [name for name, state in STATES.items() if state is not VMState.GONE]


@dataclass(frozen=True, slots=True)
class VM:
    """An instance as EC2 reports it.

    Attributes:
        id: Its instance ID.
        name: The machine's name.
        node_name: Its private DNS name, under which it registers as a node.
        region: Where it runs.
        state: Its state; `CREATING` until it runs.
        made_from: Field of the provider spec to the digest of its value.
        gone_because: The code and the message of EC2 about why it is gone.
    """

    id: str
    name: str
    node_name: str
    region: str
    state: VMState
    made_from: Mapping[str, str]
    gone_because: tuple[str, str]

    def differences(self, spec: ProviderSpec) -> list[str]:
        """Return the fields in which the instance is not as `spec` wants it (C11)."""
        wanted = _digests(spec)
        return [field for field, made in self.made_from.items() if made != wanted.get(field)]


CODES: Final[Mapping[str, type[DriverError]]] = {
    "AuthFailure": Unauthenticated,
    "ExpiredToken": Unauthenticated,
    "InvalidClientTokenId": Unauthenticated,
    "RequestExpired": Unauthenticated,
    "SignatureDoesNotMatch": Unauthenticated,
    "AccessDenied": PermissionDenied,
    "Blocked": PermissionDenied,
    "OptInRequired": PermissionDenied,
    "UnauthorizedOperation": PermissionDenied,
    "RequestLimitExceeded": Unavailable,
    "*Throttl*": Unavailable,
    "InvalidInstanceID.NotFound": Unavailable,  # it was just listed, so it is only too new
    "Invalid*": InvalidArgument,
    "Missing*": InvalidArgument,
    "SpotMaxPriceTooLow": InvalidArgument,
    "Unsupported": OutOfRange,  # a type or size that this zone does not have
    "*NotAvailable*": OutOfRange,
    "*Insufficient*": ResourceExhausted,
    "*LimitExceeded": ResourceExhausted,
    "*CountExceeded": ResourceExhausted,
    "Client.InternalError": FailedPrecondition,  # at launch: a key or snapshot that can't be used
    "Incorrect*State": FailedPrecondition,
    "OperationNotPermitted": FailedPrecondition,
    "PendingVerification": FailedPrecondition,
    "UnsupportedOperation": FailedPrecondition,
    "*InternalError": Unavailable,
    "*InternalFailure": Unavailable,
    "*Unavailable": Unavailable,
    "*Shutdown": Unavailable,  # somebody was faster than the machine's start
    "*Termination": Unavailable,
    "5??": Unavailable,  # an answer without a code of EC2
}
"""What EC2's error codes mean to the caller (C13, C44). The first pattern that matches wins."""


def _refusal(code: str, message: str) -> DriverError:
    kind = next((CODES[each] for each in CODES if fnmatchcase(code, each)), Internal)
    text, _, _ = message.partition("Encoded authorization failure message")
    return kind(f"EC2 answers {code or 'without a code'}: {text.removeprefix(f'{code}: ')}")


def _of_ec2(error: exceptions.ClientError) -> DriverError:
    document = error.response.get("Error", {})
    return _refusal(document.get("Code", ""), document.get("Message", ""))


ERRORS: Final[ErrorTable] = {
    exceptions.ClientError: _of_ec2,
    exceptions.ConnectionError: Unavailable,  # nobody answers there
    exceptions.HTTPClientError: Unavailable,  # the answer got lost, or took too long
}
"""What the SDK's errors mean to the caller."""


def volume_id(volume: PersistentVolumeSpec) -> str | None:
    """Return the ID of an EBS volume, or None if it is not one (C38)."""
    if handle := volume.csi_handle(CSI_DRIVER):
        return handle
    in_tree = volume.source("awsElasticBlockStore") or {}
    found = in_tree.get("volumeID")
    # aws://eu-west-1a/vol-0abc, or the ID alone
    return found.rpartition("/")[2] or None if isinstance(found, str) else None


class Cloud:
    """EC2, whatever the account.

    Making a client takes time, so they are kept: by a digest of the access key, so that a
    rotated one takes effect at the next call, and not too many.
    """

    def __init__(self) -> None:
        self._clients: dict[str, EC2Client] = {}
        self._one_at_a_time = threading.Lock()

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud. boto3 reads its own variables, such as AWS_ENDPOINT_URL_EC2."""
        return cls()

    def is_ready(self) -> bool:
        """Tell whether the cloud can be used: credentials and region come with each call."""
        return True

    def login(self, credentials: Credentials) -> "Session":
        """Return a session with the access key of the Secret; EC2 checks it at each call."""
        return Session(self, credentials)

    def client(self, credentials: Credentials, region: str) -> "EC2Client":
        """Return the client for an access key and a region; the longest unused one goes."""
        # A Secret made from files may end in newlines.
        key = credentials.access_key_id.get_secret_value().strip()
        secret = credentials.secret_access_key.get_secret_value().strip()
        digest = _digest([key, secret, region])
        with self._one_at_a_time:
            client = self._clients.pop(digest, None) or self._session.client(
                "ec2", region, aws_access_key_id=key, aws_secret_access_key=secret, config=_config()
            )
            self._clients[digest] = client
            if len(self._clients) > MAX_CLIENTS:
                del self._clients[next(iter(self._clients))]
        return client

    @cached_property
    def _session(self) -> "BotoSession":
        """What all clients share: the description of EC2's API, which is large."""
        from boto3 import Session as BotoSession  # takes time, which a start can do without

        return BotoSession()


def _config() -> "Config":
    """Return what bounds a call of EC2: to about 80 s, well within a machine call's deadline."""
    from botocore.config import Config

    return Config(
        connect_timeout=5,
        read_timeout=20,
        retries={"mode": "standard"},  # 3 attempts with back-off, or as AWS_MAX_ATTEMPTS says
        max_pool_connections=50,  # as many calls as MCM makes at once
    )


class Session:
    """The calls that an access key may make."""

    def __init__(self, cloud: Cloud, credentials: Credentials) -> None:
        self._cloud = cloud
        self._credentials = credentials

    def find_vms(self, scope: MachineScope, name: str | None = None) -> list[VM]:
        """Return the instances of the cluster and role, or those of one machine (C31)."""
        return self._describe(scope, name, ALIVE)

    def create_vm(self, name: str, spec: ProviderSpec, user_data: SecretStr) -> VM:
        """Make an instance and wait until it runs, or go on where an earlier call ended."""
        seen = self._describe(spec, name, [*STATES])
        alive = [vm for vm in seen if vm.state is not VMState.GONE]
        vm = alive[0] if alive else self._run(name, spec, user_data, gone=seen)
        return wait_for(lambda: self._started(spec, vm))

    def stop_vm(self, vm: VM) -> None:
        """Stop an instance; nothing happens to one that is stopped."""
        self._client(vm.region).stop_instances(InstanceIds=[vm.id])

    def delete_vm(self, vm: VM) -> None:
        """Terminate an instance, and wait until its volumes are gone with it."""
        client = self._client(vm.region)
        client.terminate_instances(InstanceIds=[vm.id])
        there = {"instance-id": [vm.id], "instance-state-name": [*ALIVE, "shutting-down"]}
        wait_for(lambda: not _instances(client, there))

    def delete_leftovers(self, scope: MachineScope, name: str) -> None:
        """Wait for instances that an earlier call, or somebody else, has begun to terminate."""
        wait_for(lambda: not self._describe(scope, name, ["shutting-down"]))

    def _run(self, name: str, spec: ProviderSpec, user_data: SecretStr, gone: list[VM]) -> VM:
        """Make an instance, or return the one that a call with the same client token made.

        EC2 remembers the token of a terminated instance for at least a day: it answers with that
        instance, or refuses other arguments. So all arguments are part of the token, and the
        instances that are gone.
        """
        client = self._client(spec.region)
        request = _request(name, spec, user_data)
        ids = sorted(vm.id for vm in gone)
        while True:
            token = _digest([request, ids])
            (instance,) = client.run_instances(**request, ClientToken=token)["Instances"]
            vm = _vm(instance, spec.region)
            if vm.state is not VMState.GONE:
                return vm
            ids.append(vm.id)

    def _started(self, scope: MachineScope, made: VM) -> VM | None:
        """Return the instance once it runs; None while it does not, or is not reported yet."""
        for vm in self._describe(scope, made.name, [*STATES]):
            if vm.id == made.id and vm.state is VMState.GONE:
                raise _refusal(*vm.gone_because)
            if vm.id == made.id and vm.state is not VMState.CREATING:
                return vm
        return None

    def _describe(self, scope: MachineScope, name: str | None, states: Sequence[str]) -> list[VM]:
        filters = {
            f"tag:{CLUSTER_TAG}{scope.cluster}": ["*"],
            f"tag:{ROLE_TAG}{scope.role}": ["*"],
            f"tag:{NAME_TAG}": [name or "*"],
            "instance-state-name": states,
        }
        instances = _instances(self._client(scope.region), filters)
        vms = [_vm(instance, scope.region) for instance in instances]
        return [vm for vm in vms if name in (None, vm.name)]  # a filter may hold wildcards

    def _client(self, region: str) -> "EC2Client":
        return self._cloud.client(self._credentials, region)


def _instances(
    client: "EC2Client", filters: Mapping[str, Sequence[str]]
) -> "list[InstanceTypeDef]":
    """Return all instances that pass the filters, of all pages."""
    pages = client.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": values} for name, values in filters.items()],
        PaginationConfig={"PageSize": PAGE_SIZE},
    )
    reservations = (reservation for page in pages for reservation in page["Reservations"])
    return [instance for each in reservations for instance in each["Instances"]]


def _vm(instance: "InstanceTypeDef", region: str) -> VM:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    made_from = (pair.partition(":") for pair in tags.get(SPEC_TAG, "").split())
    reason = instance.get("StateReason", {})
    return VM(
        id=instance["InstanceId"],
        name=tags.get(NAME_TAG, ""),
        node_name=instance.get("PrivateDnsName", ""),
        region=region,
        state=STATES[instance["State"]["Name"]],
        made_from={field: digest for field, _, digest in made_from},
        gone_because=(reason.get("Code", ""), reason.get("Message", "")),
    )


def _request(name: str, spec: ProviderSpec, user_data: SecretStr) -> dict[str, Any]:
    """Return the arguments of RunInstances."""
    made_from = " ".join(f"{field}:{digest}" for field, digest in _digests(spec).items())
    tags = spec.tags | {NAME_TAG: name, SPEC_TAG: made_from}
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    request: dict[str, Any] = {
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": spec.ami,
        "InstanceType": spec.machine_type,
        "SubnetId": spec.subnet,
        "SecurityGroupIds": [*spec.security_groups],
        "BlockDeviceMappings": [_mapping(device) for device in spec.block_devices],
        "UserData": user_data.get_secret_value(),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tag_list} for kind in ("instance", "volume")
        ],
    }
    if spec.iam_instance_profile:
        request["IamInstanceProfile"] = {"Name": spec.iam_instance_profile}
    if spec.key_name:
        request["KeyName"] = spec.key_name
    if spec.spot:
        price = {"MaxPrice": spec.spot.max_price} if spec.spot.max_price else {}
        options = {"SpotInstanceType": "one-time", **price}
        request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    return request


def _mapping(device: BlockDevice) -> dict[str, Any]:
    asked = {"Iops": device.iops, "Throughput": device.throughput}
    return {
        "DeviceName": device.device_name,
        "Ebs": {
            "VolumeSize": device.size_gib,
            "VolumeType": device.type,
            "Encrypted": device.encrypted,
            "DeleteOnTermination": device.delete_on_termination,
            **{key: value for key, value in asked.items() if value is not None},
        },
    }


def _digests(spec: ProviderSpec) -> dict[str, str]:
    """Return a short digest of each field, which fit into one tag together."""
    fields = spec.model_dump(mode="json", by_alias=True, exclude={"tags", "region"})
    return {field: _digest(value)[:6] for field, value in fields.items()}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
