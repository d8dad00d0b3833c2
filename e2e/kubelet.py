"""The kubelets of all VMs: they do in the cluster what a running VM would do."""

from contextlib import suppress

from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from e2e.vms import RunningVM, running_vms
from tests.driver import CloudFile


class Kubelets:
    """Makes each running VM of a cloud join as a ready node, and ends Pods that are deleted there.

    Args:
        provider: The scheme of the provider IDs.
        cloud: The cloud that contains the VMs.
        client: A client with the rights of kubelets.
    """

    def __init__(self, provider: str, cloud: CloudFile, client: Client) -> None:
        self._provider = provider
        self._cloud = cloud
        self._client = client
        self._joined: set[str] = set()

    def act(self) -> None:
        """Do everything that is due now."""
        for vm in self._running():
            if vm.id not in self._joined:
                self._join(vm)
        self._end_pods()

    def _running(self) -> list[RunningVM]:
        return running_vms(self._cloud, self._provider)

    def _join(self, vm: RunningVM) -> None:
        ready = NodeCondition(type="Ready", status="True", reason="KubeletReady")
        node = Node(
            metadata=ObjectMeta(name=vm.machine),
            spec=NodeSpec(providerID=vm.provider_id),
            status=NodeStatus(conditions=[ready]),
        )
        self._client.create(node)
        self._joined.add(vm.id)
        # A deleted VM can't join. If MCM did not see this node, it would stay.
        if vm not in self._running():
            with suppress(ApiError):  # MCM has seen and deleted it
                self._client.delete(Node, vm.machine)

    def _end_pods(self) -> None:
        for pod in self._client.list(Pod, namespace="*"):
            assert pod.metadata is not None
            assert pod.metadata.name is not None
            if pod.metadata.deletionTimestamp is not None:
                with suppress(ApiError):  # it is gone already
                    self._client.delete(
                        Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0
                    )
