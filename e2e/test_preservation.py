"""Machines that MCM keeps although they have failed, so that people can examine them."""

from collections.abc import Mapping

from lightkube.resources.core_v1 import Node

from e2e.cluster import Cluster, Machine
from e2e.nodes import DAEMON_SET, PREFIX, annotate, break_down, condition, pods, run_pod
from e2e.process import await_condition, await_value
from e2e.test_deployment import await_machines

NOT_SCALED_DOWN = "cluster-autoscaler.kubernetes.io/scale-down-disabled"


def start(cluster: Cluster, replicas: int, settings: Mapping[str, object] = {}) -> list[str]:
    """Start machines that fail as soon as their nodes are not ready; return their names."""
    cluster.start()
    deployment = cluster.sample("machine-deployment.yaml")
    deployment["spec"] |= {"replicas": replicas, **settings}
    deployment["spec"]["template"]["spec"]["healthTimeout"] = "1s"
    cluster.apply("secret.yaml", "machine-class.yaml", deployment)
    await_machines(cluster, replicas, "standard-2")
    return sorted(cluster.phases())


def await_preserved(cluster: Cluster, machine: str) -> None:
    """Wait until MCM reports that it keeps a machine, and until when."""

    def preserved() -> bool:
        status = cluster.status(machine)["currentStatus"]
        found = condition(cluster, machine, "Preserved")
        return "preserveExpiryTime" in status and found is not None and found.status == "True"

    await_value(preserved, wanted=True)


def annotations(cluster: Cluster, node: str) -> Mapping[str, str]:
    metadata = cluster.control_plane.client.get(Node, node).metadata
    assert metadata is not None
    return metadata.annotations or {}


def test_a_failed_machine_is_drained_and_kept_until_its_annotation_goes(cluster: Cluster) -> None:
    (machine,) = start(cluster, 1)
    annotate(cluster, machine, "preserve", "when-failed")
    run_pod(cluster, "guest", machine)
    run_pod(cluster, "logs", machine, DAEMON_SET)
    break_down(cluster, machine)
    await_value(cluster.phases, {machine: "Failed"})
    await_preserved(cluster, machine)
    await_value(lambda: pods(cluster), {"logs"})
    assert cluster.phases() == {machine: "Failed"}
    assert cluster.vms() == {machine: "running"}

    cluster.control_plane.kubectl("annotate", "node", machine, f"{PREFIX}preserve-")
    await_condition(cluster.phases, lambda phases: machine not in phases, "it should be replaced")
    await_machines(cluster, 1, "standard-2")


def test_the_annotation_of_a_node_outweighs_that_of_its_machine(cluster: Cluster) -> None:
    (machine,) = start(cluster, 1)
    cluster.patch(Machine, machine, {"metadata": {"annotations": {f"{PREFIX}preserve": "false"}}})
    annotate(cluster, machine, "preserve", "now")
    await_preserved(cluster, machine)
    assert annotations(cluster, machine)[NOT_SCALED_DOWN] == "true"
    assert cluster.phases() == {machine: "Running"}

    cluster.delete(Machine, machine)
    await_condition(cluster.phases, lambda phases: machine not in phases, "it should be deleted")
    assert machine not in cluster.vms()


def test_mcm_keeps_as_many_failed_machines_as_it_may(cluster: Cluster) -> None:
    kept, replaced = start(cluster, 2, {"autoPreserveFailedMachineMax": 1})
    annotate(cluster, replaced, "preserve", "false")
    break_down(cluster, kept)
    await_condition(cluster.phases, lambda phases: phases.get(kept) == "Failed", "it has failed")
    await_preserved(cluster, kept)
    break_down(cluster, replaced)
    await_condition(cluster.phases, lambda phases: replaced not in phases, "it should be replaced")
    assert kept in cluster.vms()
