"""Read and change nodes in tests: their labels, annotations, conditions and Pods."""

from lightkube.models.core_v1 import Container, NodeCondition, PodSpec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

from e2e.cluster import Cluster, Manifest

PREFIX = "node.machine.sapcloud.io/"
"""The prefix of labels and annotations with which people and MCM exchange data on nodes."""

DAEMON_SET = OwnerReference(
    apiVersion="apps/v1", kind="DaemonSet", name="logs", uid="logs", controller=True
)


def label(cluster: Cluster, node: str, key: str, value: str) -> None:
    """Set a label of a node for MCM."""
    cluster.control_plane.kubectl("label", "node", node, f"{PREFIX}{key}={value}")


def annotate(cluster: Cluster, node: str, key: str, value: str) -> None:
    """Set an annotation of a node for MCM."""
    cluster.control_plane.kubectl("annotate", "node", node, f"{PREFIX}{key}={value}")


def remaining(cluster: Cluster) -> set[str]:
    """Return the names of the nodes that nobody has deleted.

    A deleted node may stay: MCM removes its finalizer and then deletes the node, but another part
    of MCM may add the finalizer again in between. MCM removes it once the node is as old as its
    creation timeout (v0.62.1: `deleteNodeObject`, `reconcileClusterNodeKey`,
    `AnnotateNodesUnmanagedByMCM`).
    """
    nodes = [node.metadata for node in cluster.control_plane.client.list(Node)]
    return {str(node.name) for node in nodes if node and not node.deletionTimestamp}


def condition(cluster: Cluster, node: str, kind: str) -> NodeCondition | None:
    """Return a condition of a node, or None if the node does not have it."""
    status = cluster.control_plane.client.get(Node, node).status
    assert status is not None
    return next((each for each in status.conditions or [] if each.type == kind), None)


def break_down(cluster: Cluster, node: str) -> None:
    """Mark a node as not ready, as the node controller does if its kubelet sends nothing."""
    broken: Manifest = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
    cluster.control_plane.client.patch(
        Node.Status, node, {"status": {"conditions": [broken]}}, patch_type=PatchType.STRATEGIC
    )


def run_pod(cluster: Cluster, name: str, node: str, owner: OwnerReference | None = None) -> None:
    """Run a Pod on a node."""
    cluster.control_plane.client.create(
        Pod(
            metadata=ObjectMeta(
                name=name, namespace="default", ownerReferences=[owner] if owner else None
            ),
            spec=PodSpec(nodeName=node, containers=[Container(name=name, image=name)]),
        )
    )


def pods(cluster: Cluster) -> set[str]:
    """Return the names of the Pods that are left."""
    found = cluster.control_plane.client.list(Pod, namespace="default")
    return {str(pod.metadata.name) for pod in found if pod.metadata}
