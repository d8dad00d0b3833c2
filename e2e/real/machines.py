"""The VMs of an embedded cloud as real nodes."""

import threading
from collections.abc import Callable
from typing import Any, Self

from e2e.process import INTERVAL, PATIENCE
from e2e.real.cluster import RealCluster
from e2e.real.node import Node
from tests.driver import CloudFile
from tests.embedded_cloud import NAME_LABEL, opened


class Machines:
    """Runs a node for each running VM of a cloud, which joins a cluster as its user data says.

    Args:
        provider: The scheme of the provider IDs.
        cluster: The cluster to join.
        find_cloud: Returns the cloud; None while there is none.

    Attributes:
        nodes: The nodes by the names of their machines.
    """

    def __init__(
        self, provider: str, cluster: RealCluster, find_cloud: Callable[[], CloudFile | None]
    ) -> None:
        self._provider = provider
        self._cluster = cluster
        self._find_cloud = find_cloud
        self.nodes: dict[str, Node] = {}
        self._vms: dict[str, str] = {}
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="machines")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.wait(INTERVAL):
                self._follow_cloud()
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            self._error = error
        finally:
            for node in self.nodes.values():
                node.end()

    def _follow_cloud(self) -> None:
        cloud = self._find_cloud()
        running = {} if cloud is None else _running(opened(cloud.path), self._provider)
        for vm in self._vms.keys() - running.keys():
            self.nodes.pop(self._vms.pop(vm)).end()
        for vm in running.keys() - self._vms.keys():
            name, provider_id, user_data = running[vm]
            node = self.nodes[name] = self._cluster.new_node(name)
            self._vms[vm] = name
            self._boot(node, provider_id, user_data)

    def _boot(self, node: Node, provider_id: str, user_data: str) -> None:
        """Start a kubelet whose bootstrap kubeconfig is the VM's user data."""
        kubeconfig = node.host.folder / "bootstrap.kubeconfig"
        kubeconfig.write_text(user_data)
        node.join(
            f"--bootstrap-kubeconfig={kubeconfig}",
            "--kubeconfig=/var/lib/kubelet/kubeconfig",
            f"--provider-id={provider_id}",
        )


def _running(cloud: Any, provider: str) -> dict[str, tuple[str, str, str]]:
    """Return machine, provider ID and user data of each VM that runs."""
    return {
        server.id: (
            str(server.labels[NAME_LABEL]),
            f"{provider}:///{server.region}/{server.id}",
            str(cloud.user_data(server.id)),
        )
        for server in cloud.servers()
        if server.status == "running"
    }
