"""The kubelets of all VMs: what a VM does in its cluster once it runs."""

import threading
from contextlib import suppress
from typing import Self

from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from e2e.process import INTERVAL, PATIENCE
from tests.driver import CloudFile
from tests.embedded_cloud import NAME_LABEL, opened


class Kubelets:
    """Let each running VM of a cloud join as a ready node, and end the Pods that are deleted there.

    Args:
        provider: The scheme of the provider IDs.
        cloud: Where the VMs are.
        client: May do what kubelets may.
    """

    def __init__(self, provider: str, cloud: CloudFile, client: Client) -> None:
        self._provider = provider
        self._cloud = cloud
        self._client = client
        self._joined: set[str] = set()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kubelets")

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
                for vm, name, region in self._running_vms():
                    if vm not in self._joined:
                        self._join(vm, name, region)
                self._end_pods()
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            self._error = error

    def _running_vms(self) -> list[tuple[str, str, str]]:
        if not self._cloud.path.exists():
            return []
        return [
            (server.id, server.labels[NAME_LABEL], server.region)
            for server in opened(self._cloud.path).servers()
            if server.status == "running"
        ]

    def _join(self, vm: str, name: str, region: str) -> None:
        provider_id = f"{self._provider}:///{region}/{vm}"
        ready = NodeCondition(type="Ready", status="True", reason="KubeletReady")
        node = Node(
            metadata=ObjectMeta(name=name),
            spec=NodeSpec(providerID=provider_id),
            status=NodeStatus(conditions=[ready]),
        )
        self._client.create(node)
        self._joined.add(vm)

    def _end_pods(self) -> None:
        for pod in self._client.list(Pod, namespace="*"):
            assert pod.metadata is not None
            assert pod.metadata.name is not None
            if pod.metadata.deletionTimestamp is not None:
                with suppress(ApiError):  # it is gone already
                    self._client.delete(
                        Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0
                    )
