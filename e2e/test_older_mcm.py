"""Statements in docs/reference/older-mcm.md that an API server can show."""

from lightkube.types import PatchType

from e2e.binaries import KUBERNETES
from e2e.cluster import Cluster, Machine
from e2e.control_plane import NAMESPACE
from tests.docs.pages import blocks, follow

PAGE = "docs/reference/older-mcm.md"


def test_its_manifests_are_applied_as_the_page_says(cluster: Cluster) -> None:
    """The older MCM does not get the role for bootstrap tokens of today's machine-controller."""
    control_plane = cluster.control_plane
    there = {
        "PATH": f"{KUBERNETES}:/usr/bin:/bin",
        "KUBECONFIG": str(control_plane.kubeconfig),
    }
    for block in blocks(PAGE, "sh"):
        follow(cluster.samples.parent, block.text, there)
    token = ("create", "secrets", "--namespace=kube-system")
    assert not control_plane.may("machine-controller-manager", *token)
    assert control_plane.may("machine-controller-manager", "delete", "machines")


def test_its_definitions_keep_what_todays_drop(cluster: Cluster) -> None:
    definitions = cluster.samples / "deploy/older-mcm/crds.yaml"

    def node_kept(machine: str) -> bool:
        manifest = cluster.sample("machine.yaml")
        manifest["metadata"]["name"] = machine
        cluster.apply(manifest)
        change = {"status": {"node": "a-node"}}
        cluster.control_plane.client.patch(
            Machine.Status, machine, change, namespace=NAMESPACE, patch_type=PatchType.MERGE
        )
        return "node" in cluster.status(machine)

    assert not node_kept("machine-1")
    cluster.control_plane.kubectl("apply", "-f", definitions)
    assert node_kept("machine-2")
