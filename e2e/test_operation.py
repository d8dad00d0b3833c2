"""Operations of MCM besides creating and deleting machines, as far as they affect a driver."""

from e2e.cluster import Cluster, Machine
from e2e.process import await_value
from e2e.test_deployment import SAMPLES as DEPLOYMENT
from e2e.test_deployment import await_machines
from e2e.test_machine import SAMPLES

PRIORITY = "machinepriority.machine.sapcloud.io"


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
