"""Many machines at once."""

import time

from e2e.cluster import Cluster, MachineDeployment
from e2e.process import PATIENCE, await_condition
from tests.driver import figure

COUNT = 200
LONG = 4 * PATIENCE
"""On a machine that is busy with other tests, even the API server needs minutes for so many."""


def test_200_machines_are_created_and_deleted(cluster: Cluster) -> None:
    cluster.start(quick=True)
    idle = cluster.driver.resident_kib()
    deployment = cluster.sample("machine-deployment.yaml")
    deployment["spec"]["replicas"] = COUNT
    start = time.monotonic()
    cluster.apply("secret.yaml", "machine-class.yaml", deployment)
    await_condition(
        lambda: [*cluster.phases().values()].count("Running"),
        lambda running: running == COUNT,
        f"wanted: {COUNT} running machines",
        LONG,
    )
    created = time.monotonic() - start
    assert len(cluster.vms()) == COUNT
    busy = cluster.driver.resident_kib()

    start = time.monotonic()
    cluster.delete(MachineDeployment, "acme-workers")
    await_condition(cluster.phases, lambda phases: phases == {}, "wanted: no machine", LONG)
    deleted = time.monotonic() - start
    assert cluster.vms() == {}
    figure(f"{COUNT} machines running after {created:.0f} s, gone after {deleted:.0f} s more")
    figure(
        f"the driver held {idle // 1024} MiB idle, {busy // 1024} MiB with {COUNT} machines,"
        f" {cluster.driver.resident_kib() // 1024} MiB after their deletion"
    )
