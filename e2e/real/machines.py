"""The VMs of an embedded cloud as real nodes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from e2e.process import repeatedly
from e2e.real.cluster import RealCluster
from e2e.real.node import Node
from e2e.vms import RunningVM, running_vms
from tests.driver import CloudFile


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

    @contextmanager
    def followed(self) -> Iterator[Self]:
        """Start and end nodes as VMs come and go, while the context is open."""
        try:
            with repeatedly(self._follow_cloud):
                yield self
        finally:
            for node in self.nodes.values():
                node.end()

    def _follow_cloud(self) -> None:
        cloud = self._find_cloud()
        vms = running_vms(cloud, self._provider) if cloud else []
        for gone in self._vms.keys() - {vm.id for vm in vms}:
            self.nodes.pop(self._vms.pop(gone)).end()
        for vm in vms:
            if vm.id not in self._vms:
                node = self.nodes[vm.machine] = self._cluster.new_node(vm.machine)
                self._vms[vm.id] = vm.machine
                _boot(node, vm)


def _boot(node: Node, vm: RunningVM) -> None:
    """Start a kubelet whose bootstrap kubeconfig is the VM's user data."""
    kubeconfig = node.host.folder / "bootstrap.kubeconfig"
    kubeconfig.write_text(vm.user_data)
    node.join(
        f"--bootstrap-kubeconfig={kubeconfig}",
        "--kubeconfig=/var/lib/kubelet/kubeconfig",
        f"--provider-id={vm.provider_id}",
    )
