"""The running VMs of an embedded cloud, for the code that plays their nodes."""

from typing import NamedTuple

from tests.driver import CloudFile
from tests.embedded_cloud import NAME_LABEL, opened


class RunningVM(NamedTuple):
    """A VM that runs.

    Attributes:
        cloud: The cloud that contains it.
        id: Its ID in the cloud.
        machine: The name of its machine.
        provider_id: Its provider ID.
    """

    cloud: CloudFile
    id: str
    machine: str
    provider_id: str

    @property
    def user_data(self) -> str:
        """Its user data, read from the cloud."""
        return str(opened(self.cloud.path).user_data(self.id))


def running_vms(cloud: CloudFile, provider: str) -> list[RunningVM]:
    """Return the VMs that run; none if the cloud does not exist yet.

    Args:
        cloud: The cloud that contains them.
        provider: The scheme of the provider IDs.
    """
    if not cloud.path.exists():
        return []
    return [
        RunningVM(
            cloud,
            server.id,
            server.labels[NAME_LABEL],
            f"{provider}:///{server.region}/{server.id}",
        )
        for server in opened(cloud.path).servers()
        if server.status == "running"
    ]
