"""Single machines, from `kubectl apply` to their deletion, and the errors in between."""

from lightkube.resources.core_v1 import Node, Secret

from e2e.cluster import Cluster, Machine, MachineClass, Manifest
from e2e.nodes import remaining
from e2e.process import await_condition, await_value

SAMPLES = ("secret.yaml", "machine-class.yaml", "machine.yaml")


def second_machine(cluster: Cluster) -> Manifest:
    """Return another machine of the sample class."""
    machine = cluster.sample("machine.yaml")
    machine["metadata"]["name"] = "second"
    return machine


def await_error(cluster: Cluster, machine: str, code: str) -> str:
    """Wait until a machine's status contains an error; return its message."""
    operation = await_condition(
        lambda: cluster.status(machine).get("lastOperation", {}),
        lambda operation: operation.get("errorCode") == code,
        f"{machine} should fail with {code}",
    )
    assert operation["state"] == "Failed"
    assert cluster.phases()[machine] == "CrashLoopBackOff"
    return str(operation["description"])


def test_machine_runs_and_is_deleted(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})
    assert cluster.vms() == {"acme-machine": "running"}
    machine = cluster.control_plane.client.get(Machine, "acme-machine")
    node = cluster.control_plane.client.get(Node, "acme-machine")
    assert node.spec is not None
    assert machine["spec"]["providerID"] == node.spec.providerID

    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {})
    assert cluster.vms() == {}
    assert remaining(cluster) == set()

    # MCM removes its finalizers from objects that are no longer used.
    cluster.delete(MachineClass, "acme-small")
    await_value(lambda: cluster.names(MachineClass), set())
    cluster.control_plane.client.delete(Secret, "acme-small")
    await_value(lambda: [*cluster.control_plane.client.list(Secret)], [])


def test_machine_without_a_target_cluster_is_available(cluster: Cluster) -> None:
    cluster.take_back("target-cluster.yaml")
    cluster.start(nodes=False)
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Available"})
    assert cluster.vms() == {"acme-machine": "running"}
    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {})
    assert cluster.vms() == {}


def test_a_used_up_quota_is_reported_and_retried(cluster: Cluster) -> None:
    cluster.start(quota=1)
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})
    cluster.apply(second_machine(cluster))
    message = await_error(cluster, "second", "ResourceExhausted")
    assert "the account's quota of 1 servers is used up" in message
    assert cluster.vms() == {"acme-machine": "running"}

    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {"second": "Running"})
    assert cluster.vms() == {"second": "running"}


def test_an_invalid_spec_is_reported_and_can_be_corrected(cluster: Cluster) -> None:
    cluster.start()
    invalid = cluster.sample("machine-class.yaml")
    invalid["providerSpec"]["disks"][0]["sizeGiB"] = -1
    invalid["providerSpec"]["flavour"] = "huge"
    cluster.apply("secret.yaml", invalid, "machine.yaml", second_machine(cluster))
    for machine in ("acme-machine", "second"):
        message = await_error(cluster, machine, "InvalidArgument")
        assert "providerSpec.disks[0].sizeGiB" in message
        assert "providerSpec.flavour" in message
    assert cluster.vms() == {}

    # The invalid class does not block a deletion.
    cluster.delete(Machine, "second")
    await_value(lambda: {*cluster.phases()}, {"acme-machine"})

    # MCM tries again after three minutes, or when the machine's spec changes.
    cluster.apply("machine-class.yaml")
    again = {"spec": {"nodeTemplate": {"metadata": {"annotations": {"corrected": "yes"}}}}}
    cluster.patch(Machine, "acme-machine", again)
    await_value(cluster.phases, {"acme-machine": "Running"})
    assert cluster.vms() == {"acme-machine": "running"}


def test_only_orphans_of_the_own_cluster_are_collected(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})
    own = cluster.sample("machine-class.yaml")
    foreign = cluster.sample("machine-class.yaml")
    tags = {"kubernetes.io/cluster/shoot--dev--other": "1", "kubernetes.io/role/node": "1"}
    foreign["providerSpec"]["tags"] = tags
    cluster.create_behind_mcm("foreign", foreign)
    cluster.create_behind_mcm("orphan", own)
    await_value(cluster.vms, {"acme-machine": "running", "foreign": "running"})
    cluster.await_listings(2)
    assert cluster.vms() == {"acme-machine": "running", "foreign": "running"}
    assert cluster.phases() == {"acme-machine": "Running"}


def test_rotated_credential_takes_effect(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})

    cluster.cloud.allow("rotated-token")
    rotated = cluster.sample("secret.yaml")
    rotated["stringData"]["apiToken"] = "rotated-token"
    # MCM replaces these with a bootstrap token and the machine's name.
    rotated["stringData"]["userData"] = "join <<BOOTSTRAP_TOKEN>> as <<MACHINE_NAME>>"
    cluster.apply(rotated)
    cluster.revoke("demo-token")
    cluster.apply(second_machine(cluster))
    await_value(cluster.phases, {"acme-machine": "Running", "second": "Running"})
    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {"second": "Running"})
    assert cluster.vms() == {"second": "running"}
