"""What MCM can do with machines beyond creating and deleting them, as far as a driver sees it."""

from typing import Any

from lightkube.resources.core_v1 import Node
from lightkube.types import PatchType

from e2e.cluster import Cluster, Machine, MachineDeployment
from e2e.process import await_condition, await_value
from e2e.test_deployment import ROLL, await_machines, large_class
from e2e.test_deployment import SAMPLES as DEPLOYMENT
from e2e.test_machine import SAMPLES
from tests.embedded_cloud import opened

UPDATE_RESULT = "node.machine.sapcloud.io/update-result"
PRESERVE = "node.machine.sapcloud.io/preserve"
PRIORITY = "machinepriority.machine.sapcloud.io"


def ids(cluster: Cluster) -> set[str]:
    """Return the IDs of all servers of the cloud."""
    return {server.id for server in opened(cluster.cloud.path).servers()}


def test_a_creation_timeout_of_one_machine(cluster: Cluster) -> None:
    cluster.start(quota=0)
    machine = cluster.sample("machine.yaml")
    machine["spec"]["creationTimeout"] = "1s"
    patient = cluster.sample("machine.yaml")
    patient["metadata"]["name"] = "patient"
    cluster.apply("secret.yaml", "machine-class.yaml", machine, patient)
    await_value(cluster.phases, {"acme-machine": "Failed", "patient": "CrashLoopBackOff"})


def test_a_forced_deletion_deletes_the_vm(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})
    cluster.patch(Machine, "acme-machine", {"metadata": {"labels": {"force-deletion": "True"}}})
    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {})
    assert cluster.vms() == {}
    assert "Force delete/drain has been triggerred" in cluster.log_of("machine-controller")


def test_the_machine_of_the_lowest_priority_goes_first(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*DEPLOYMENT)
    await_machines(cluster, 3, "standard-2")
    first, *others = sorted(cluster.phases())
    cluster.patch(Machine, first, {"metadata": {"annotations": {PRIORITY: "1"}}})
    cluster.control_plane.kubectl("scale", "machinedeployment", "acme-workers", "--replicas=2")
    await_machines(cluster, 2, "standard-2")
    assert sorted(cluster.vms()) == others


def test_a_preserved_machine_keeps_its_vm(cluster: Cluster) -> None:
    """Its node is gone for good, so that the machine has failed."""
    cluster.bridge_options = ("--machine-health-timeout=1s",)
    cluster.start()
    cluster.apply(*DEPLOYMENT)
    await_machines(cluster, 3, "standard-2")
    kept, *_ = sorted(cluster.phases())
    cluster.patch(Machine, kept, {"metadata": {"annotations": {PRESERVE: "when-failed"}}})
    (server,) = [
        each for each in opened(cluster.cloud.path).servers() if each.labels["machine-name"] == kept
    ]
    cluster.control_plane.client.delete(Node, kept)
    await_condition(
        lambda: cluster.phases().get(kept), lambda phase: phase == "Failed", "it should fail"
    )
    cluster.await_listings(2)
    assert cluster.phases()[kept] == "Failed"
    assert server.id in ids(cluster)


def test_an_update_in_place_calls_no_driver(cluster: Cluster) -> None:
    cluster.start()
    deployment = cluster.sample("machine-deployment.yaml")
    in_place = {"orchestrationType": "Auto", "maxSurge": 0, "maxUnavailable": 1}
    deployment["spec"]["strategy"] = {"type": "InPlaceUpdate", "inPlaceUpdate": in_place}
    deployment["spec"]["replicas"] = 1
    cluster.apply("secret.yaml", "machine-class.yaml", deployment)
    await_machines(cluster, 1, "standard-2")
    before, (name,) = ids(cluster), cluster.phases()
    calls = [cluster.calls(each) for each in ("create_machine", "delete_machine")]

    cluster.apply(large_class(cluster))
    cluster.patch(MachineDeployment, "acme-workers", ROLL)
    await_value(cluster.phases, {name: "InPlaceUpdating"})
    # As what updates the node would do.
    done = {"metadata": {"labels": {UPDATE_RESULT: "successful"}}}
    cluster.control_plane.client.patch(Node, name, done, patch_type=PatchType.MERGE)

    def updated() -> Any:
        machine = cluster.control_plane.client.get(Machine, name)
        return machine["spec"]["class"]["name"], cluster.phases()

    await_value(updated, ("acme-large", {name: "Running"}))
    assert ids(cluster) == before
    assert [cluster.calls(each) for each in ("create_machine", "delete_machine")] == calls
