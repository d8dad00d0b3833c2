"""Machine deployments: updates, scaling, deletion, and crashes in between."""

import signal

from e2e.cluster import Cluster, MachineDeployment, MachineSet, Manifest
from e2e.nodes import remaining
from e2e.process import await_condition, await_value

SAMPLES = ("secret.yaml", "machine-class.yaml", "machine-deployment.yaml")
ROLL = {"spec": {"template": {"spec": {"class": {"name": "acme-large"}}}}}


def large_class(cluster: Cluster) -> Manifest:
    """Return a machine class with larger VMs than the samples'."""
    machine_class = cluster.sample("machine-class.yaml")
    machine_class["metadata"]["name"] = "acme-large"
    machine_class["providerSpec"]["machineType"] = "standard-4"
    return machine_class


def await_machines(cluster: Cluster, count: int, machine_type: str) -> None:
    """Wait until there is the given number of running machines of that type, and no other VM."""

    def state() -> tuple[list[str], dict[str, str]]:
        phases = cluster.phases()
        assert cluster.vms() is not None  # this fails if a machine has two VMs at any time
        types = cluster.machine_types() if phases else {}
        return [*phases.values()], {name: types.get(name, "") for name in types | phases}

    def is_there(state: tuple[list[str], dict[str, str]]) -> bool:
        phases, types = state
        return phases == ["Running"] * count and [*types.values()] == [machine_type] * count

    await_condition(state, is_there, f"wanted: {count} machines of {machine_type}")
    assert {*cluster.vms()} == {*cluster.phases()}


def await_nothing(cluster: Cluster) -> None:
    """Wait until all machines are deleted, and check that nothing is left."""
    await_value(lambda: cluster.names(MachineDeployment) | cluster.names(MachineSet), set())
    await_value(cluster.phases, {})
    assert cluster.vms() == {}
    assert remaining(cluster) == set()


def test_deployment_is_rolled_scaled_and_deleted(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_machines(cluster, 3, "standard-2")

    cluster.apply(large_class(cluster))
    cluster.patch(MachineDeployment, "acme-workers", ROLL)
    await_machines(cluster, 3, "standard-4")

    cluster.control_plane.kubectl("scale", "machinedeployment", "acme-workers", "--replicas=1")
    await_machines(cluster, 1, "standard-4")

    cluster.delete(MachineDeployment, "acme-workers")
    await_nothing(cluster)


def test_rolling_update_survives_kill_9_of_driver_and_bridge(cluster: Cluster) -> None:
    cluster.start(latency=0.3)
    cluster.apply(*SAMPLES)
    await_machines(cluster, 3, "standard-2")

    def await_creation() -> set[str]:
        """Wait until a VM is partly created."""
        return await_condition(
            lambda: cluster.cloud.names("creating"), bool, "a VM should be half made"
        )

    cluster.apply(large_class(cluster))
    cluster.patch(MachineDeployment, "acme-workers", ROLL)
    interrupted = await_creation()
    cluster.driver.signal(signal.SIGKILL)
    cluster.driver.wait()
    assert interrupted <= cluster.cloud.names("creating")
    cluster.start_driver(latency=0.3)

    await_value(lambda: interrupted <= cluster.cloud.names("running"), wanted=True)
    await_creation()
    cluster.bridge.kill()
    cluster.bridge.start()
    await_machines(cluster, 3, "standard-4")

    cluster.delete(MachineDeployment, "acme-workers")
    await_nothing(cluster)
