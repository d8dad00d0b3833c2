"""The adapter to the benchmark's cloud, as an author would write it."""

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from cmi import (
    VM,
    DriverError,
    ErrorTable,
    Internal,
    Leftover,
    PersistentVolumeSpec,
    ProviderIdFormat,
    Session,
    Throttled,
    Unavailable,
    VMState,
    spec_differences,
    spec_fingerprint,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets

PROVIDER_ID: Final = ProviderIdFormat("bench:///{id}")
SCOPE_TAGS: Final = MachineScope.scope_tags
NAME_TAG: Final = "Name"
SPEC_TAG: Final = "machine-spec"
TIMEOUT: Final = 60
STATES: Final = {
    "pending": VMState.CREATING,
    "running": VMState.RUNNING,
    "shutting-down": VMState.DELETING,
    "terminated": VMState.GONE,
}


class CloudError(Exception):
    """The cloud returned an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def _meaning(error: CloudError) -> DriverError:
    kind = Throttled if error.code == "RequestLimitExceeded" else Internal
    return kind(str(error))


ERRORS: Final[ErrorTable] = {
    CloudError: _meaning,
    OSError: Unavailable,
    HTTPException: Unavailable,
}


def volume_id(_volume: PersistentVolumeSpec) -> str | None:
    """Return None: this cloud has no volumes."""
    return None


class Cloud:
    """The cloud, with a pool of connections."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._idle: deque[HTTPConnection] = deque()

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud that BENCH_CLOUD names."""
        return cls(os.environ["BENCH_CLOUD"])

    def is_ready(self) -> bool:
        """Be ready."""
        return True

    def login(self, _credentials: Credentials) -> "CloudSession":
        """Return a session; this cloud checks no credentials."""
        return CloudSession(self)

    def call(self, action: str, **arguments: object) -> Any:
        """Make an API call, and return the response."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = HTTPConnection(self._address, timeout=TIMEOUT)
        try:
            connection.request("POST", f"/{action}", json.dumps(arguments).encode())
            response = connection.getresponse()
            body = json.loads(response.read())
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if response.status != 200:
            raise CloudError(body["Code"], body["Message"])
        return body


@dataclass(frozen=True, kw_only=True)
class Instance(VM):
    """An instance, as the rules see it."""

    id: str
    made_from: str


class CloudSession(Session[MachineScope, ProviderSpec, Secrets, Instance]):
    """The calls of the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def list_vms(self, scope: MachineScope) -> list[Instance]:
        """Return the instances that have the two tags."""
        return self._instances(Tags=_tags(scope))

    def find_vms(self, scope: MachineScope, name: str) -> list[Instance]:
        """Return those that have the machine's name, too."""
        return self._instances(Tags={**_tags(scope), NAME_TAG: name})

    def get_vm(self, scope: MachineScope, provider_id: str) -> Instance | None:
        """Return the instance with the ID."""
        found = self._instances(IDs=[PROVIDER_ID.parse(provider_id)["id"]])
        return found[0] if found else None

    def create_vm(self, name: str, spec: ProviderSpec, secrets: Secrets) -> Instance:
        """Launch an instance; the token makes a repeated call harmless."""
        made_from = spec_fingerprint(spec)
        token = f"{spec.cluster}/{spec.role}/{name}/{made_from}"
        tags = {**_tags(spec), NAME_TAG: name, SPEC_TAG: made_from}
        return _instance(self._cloud.call("RunInstances", ClientToken=token, Tags=tags))

    def advance_vm(self, vm: Instance, spec: ProviderSpec, secrets: Secrets) -> None:
        """Do nothing; or end the call, so that MCM repeats it, if the contest asks for that."""
        if os.environ.get("BENCH_ANSWERS_AT_ONCE"):
            raise Unavailable(f"instance {vm.id} is pending")

    def differences(self, vm: Instance, spec: ProviderSpec) -> Sequence[str]:
        """Compare with the fingerprint of the spec."""
        return spec_differences(vm.made_from, spec)

    def stop_vm(self, vm: Instance) -> None:
        """Refuse: this cloud stops no instance."""
        raise Internal("the cloud of the benchmark stops no instance")

    def delete_vm(self, vm: Instance) -> None:
        """Start terminating the instance."""
        self._cloud.call("TerminateInstances", IDs=[vm.id])

    def list_leftovers(self, scope: MachineScope, name: str | None = None) -> list[Leftover]:
        """Return nothing: this cloud deletes everything with the instance."""
        return []

    def delete_leftover(self, leftover: Leftover) -> None:
        """Do nothing."""

    def _instances(self, **filters: object) -> list[Instance]:
        """Return the instances of all pages."""
        found: list[Instance] = []
        page: dict[str, Any] = {"NextToken": 0}
        while "NextToken" in page:
            token = page["NextToken"]
            page = self._cloud.call("DescribeInstances", NextToken=token, **filters)
            found += map(_instance, page["Instances"])
        return found


def _tags(scope: MachineScope) -> dict[str, str]:
    cluster, role = SCOPE_TAGS.cluster_prefix + scope.cluster, SCOPE_TAGS.role_prefix + scope.role
    return {cluster: "1", role: "1"}


def _instance(instance: Mapping[str, Any]) -> Instance:
    tags = instance["Tags"]
    return Instance(
        name=tags.get(NAME_TAG, ""),
        provider_id=PROVIDER_ID.format(id=instance["ID"]),
        node_name=tags.get(NAME_TAG, ""),
        cluster=SCOPE_TAGS.cluster(tags),
        role=SCOPE_TAGS.role(tags),
        state=STATES[instance["State"]],
        id=instance["ID"],
        made_from=tags.get(SPEC_TAG, ""),
    )
