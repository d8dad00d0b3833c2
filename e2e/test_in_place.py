"""Updates in place: MCM keeps the VMs, and a program on their nodes updates them."""

from typing import Any

import pytest
from lightkube.resources.core_v1 import Node

from e2e.cluster import Cluster, Machine, MachineDeployment
from e2e.nodes import PREFIX, condition, label, pods, run_pod
from e2e.process import await_condition, await_value
from e2e.test_deployment import ROLL, await_machines, large_class

NOT_READY_YET = "node.gardener.cloud/critical-components-not-ready"
"""The taint with which MCM keeps Pods away until the node's own Pods are reported ready."""


def begin(cluster: Cluster, replicas: int, orchestration: str, **settings: str) -> list[str]:
    """Start machines, change their class, and return their names."""
    cluster.start()
    deployment = cluster.sample("machine-deployment.yaml")
    deployment["spec"]["replicas"] = replicas
    deployment["spec"]["strategy"] = {
        "type": "InPlaceUpdate",
        "inPlaceUpdate": {"orchestrationType": orchestration, "maxUnavailable": 1, "maxSurge": 0},
    }
    deployment["spec"]["template"]["spec"] |= settings
    cluster.apply("secret.yaml", "machine-class.yaml", deployment)
    await_machines(cluster, replicas, "standard-2")
    machines = sorted(cluster.phases())
    run_pod(cluster, "guest", machines[0])
    cluster.apply(large_class(cluster))
    cluster.patch(MachineDeployment, "acme-workers", ROLL)
    return machines


def progress(cluster: Cluster, node: str) -> str:
    """Return the progress of the update of a node."""
    found = condition(cluster, node, "InPlaceUpdate")
    return (found.reason or "") if found else ""


def test_nodes_are_drained_one_by_one_and_their_vms_stay(cluster: Cluster) -> None:
    machines = begin(cluster, 2, "Auto")

    def ready() -> list[str]:
        return [node for node in machines if progress(cluster, node) == "ReadyForUpdate"]

    first, *more = await_condition(ready, bool, "a node should be ready for its update")
    assert not more
    label(cluster, first, "update-result", "successful")
    second, *more = await_condition(
        lambda: [node for node in ready() if node != first], bool, "the other should follow"
    )
    assert not more
    label(cluster, second, "update-result", "successful")

    def updated() -> int:
        status = cluster.control_plane.client.get(MachineDeployment, "acme-workers")["status"]
        return int(status.get("updatedReplicas", 0)) * ("unavailableReplicas" not in status)

    await_value(updated, 2)
    assert pods(cluster) == set()
    await_machines(cluster, 2, "standard-2")
    assert sorted(cluster.phases()) == machines
    assert cluster.calls("create_machine") == 2
    assert cluster.calls("delete_machine") == 0
    for name in machines:
        machine: Any = cluster.control_plane.client.get(Machine, name)
        assert machine["spec"]["class"]["name"] == "acme-small"
        node = cluster.control_plane.client.get(Node, name)
        assert node.spec is not None
        assert not node.spec.unschedulable
        assert NOT_READY_YET in {taint.key for taint in node.spec.taints or []}


@pytest.mark.parametrize("result", ["failed", None])
def test_an_update_that_fails_or_never_ends_keeps_the_vm(
    cluster: Cluster, result: str | None
) -> None:
    """With manual orchestration, each step waits for a label."""
    (machine,) = begin(cluster, 1, "Manual", inPlaceUpdateTimeout="10m" if result else "1s")
    await_value(lambda: progress(cluster, machine), "CandidateForUpdate")
    node = cluster.control_plane.client.get(Node, machine)
    assert node.metadata is not None
    assert f"{PREFIX}selected-for-update" not in (node.metadata.labels or {})
    assert pods(cluster) == {"guest"}
    label(cluster, machine, "selected-for-update", "true")
    await_value(lambda: progress(cluster, machine), "ReadyForUpdate")
    if result:
        label(cluster, machine, "update-result", result)
    await_value(cluster.phases, {machine: "InPlaceUpdateFailed"})
    assert cluster.vms() == {machine: "running"}
