"""Statements about MCM in docs/reference/mcm-versions.md that no other test shows."""

import copy
import re
import subprocess

import pytest

from e2e.binaries import BRIDGE
from e2e.cluster import Cluster, Machine, MachineDeployment, Manifest
from e2e.nodes import break_down
from e2e.process import await_condition, await_value
from e2e.test_deployment import SAMPLES as DEPLOYMENT
from e2e.test_deployment import await_machines
from tests.embedded_cloud import opened

DEFAULTS = {
    "machine-controller": {
        "cmi-timeout": "10m0s",
        "concurrent-syncs": "500",
        "kube-api-qps": "20",
        "machine-creation-timeout": "20m0s",
        "machine-drain-timeout": "2h0m0s",
        "machine-health-timeout": "10m0s",
        "machine-inplace-update-timeout": "20m0s",
        "machine-max-evict-retries": "360",
        "machine-preserve-timeout": "96h0m0s",
        "machine-safety-apiserver-statuscheck-timeout": "30s",
        "machine-safety-orphan-vms-period": "15m0s",
        "resource-exhausted-retry": "10m0s",
    },
    "machine-controller-manager": {"kube-api-qps": "20", "safety-up": "2"},
}
"""The defaults of flags that the documentation mentions."""


@pytest.mark.parametrize("program", DEFAULTS)
def test_defaults_that_the_pages_give(binaries: None, program: str) -> None:
    result = subprocess.run(
        [BRIDGE / program, "--help"], capture_output=True, text=True, check=False
    )
    shown = dict(
        re.findall(
            r"^ +--([\w-]+) .*\(default (\w+)\)$", result.stdout + result.stderr, re.MULTILINE
        )
    )
    assert DEFAULTS[program].items() <= shown.items()


def test_a_secret_without_user_data_is_never_used(cluster: Cluster) -> None:
    cluster.start(nodes=False)
    secret = cluster.sample("secret.yaml")
    del secret["stringData"]["userData"]
    cluster.apply(secret, "machine-class.yaml", "machine.yaml")
    await_condition(
        lambda: cluster.log_of("machine-controller"),
        lambda log: "userdata field not found in secret" in log,
        "MCM should say what it misses",
    )
    assert cluster.calls("get_machine_status") == cluster.calls("create_machine") == 0

    cluster.apply("secret.yaml")
    await_value(cluster.phases, {"acme-machine": "Available"})


def test_user_data_gets_a_token_and_the_name_of_the_machine(cluster: Cluster) -> None:
    cluster.start()
    secret = cluster.sample("secret.yaml")
    secret["stringData"]["userData"] = "join <<BOOTSTRAP_TOKEN>> as <<MACHINE_NAME>>"
    cluster.apply(secret, "machine-class.yaml", "machine.yaml")
    await_value(cluster.phases, {"acme-machine": "Running"})
    cloud = opened(cluster.cloud.path)
    (server,) = cloud.servers()
    assert re.fullmatch(
        r"join [a-z0-9]{6}\.[a-z0-9]{16} as acme-machine", cloud.user_data(server.id)
    )


def test_a_node_template_has_to_be_whole(cluster: Cluster) -> None:
    """MCM refuses a class with an incomplete template, but accepts a class without one."""
    whole = cluster.sample("machine-class.yaml")
    machine = cluster.sample("machine.yaml")

    def apply(name: str, machine_class: Manifest) -> None:
        machine_class["metadata"]["name"] = machine["metadata"]["name"] = name
        machine["spec"]["class"]["name"] = name
        cluster.apply(machine_class, machine)

    cluster.start(nodes=False)
    cluster.apply("secret.yaml")
    for attribute in ("cpu", "gpu", "memory"):
        part = copy.deepcopy(whole)
        del part["nodeTemplate"]["capacity"][attribute]
        apply(f"without-{attribute.lower()}", part)
    for attribute in ("instanceType", "region", "zone"):
        part = copy.deepcopy(whole)
        part["nodeTemplate"][attribute] = ""
        apply(f"without-{attribute.lower()}", part)
    part = copy.deepcopy(whole)
    del part["nodeTemplate"]
    apply("without-all", part)

    def refused() -> set[str]:
        log = cluster.log_of("machine-controller")
        said = r"cannot reconcile machine (\S+): \[MachineClass NodeTemplate"
        return {*re.findall(said, log)}

    names = cluster.names(Machine)
    assert len(names) == 7
    await_value(refused, names - {"without-all"})
    await_value(lambda: cluster.phases()["without-all"], "Available")
    assert {*cluster.vms()} == {"without-all"}


def test_only_another_machine_template_replaces_machines(cluster: Cluster) -> None:
    """Neither a changed class nor settings that MCM can change in place replace machines."""
    cluster.start()
    cluster.apply(*DEPLOYMENT)
    await_machines(cluster, 3, "standard-2")
    names = cluster.names(Machine)

    changed = cluster.sample("machine-class.yaml")
    changed["providerSpec"]["machineType"] = "standard-4"
    cluster.apply(changed)
    settings = {"creationTimeout": "21m0s", "healthTimeout": "11m0s", "drainTimeout": "3h0m0s"}
    settings["nodeConditions"] = "DiskPressure"
    template = {"metadata": {"labels": {"worker-pool": "others"}}}
    change = {"spec": {"template": {"spec": settings | {"nodeTemplate": template}}}}
    cluster.patch(MachineDeployment, "acme-workers", change)

    def arrived() -> list[bool]:
        return [
            settings.items() <= machine["spec"].items()
            and machine["spec"]["nodeTemplate"]["metadata"] == template["metadata"]
            for machine in cluster.objects(Machine)
        ]

    await_value(arrived, [True] * 3)
    await_machines(cluster, 3, "standard-2")
    assert cluster.names(Machine) == names


@pytest.mark.parametrize("labelled", [True, False])
def test_unhealthy_machines_are_counted_by_the_label_name(
    cluster: Cluster, *, labelled: bool
) -> None:
    """If all nodes are lost, MCM replaces labelled machines one by one, others all at once."""
    cluster.start()
    deployment = cluster.sample("machine-deployment.yaml")
    if not labelled:
        deployment["spec"]["selector"]["matchLabels"] = {"pool": "workers"}
        deployment["spec"]["template"]["metadata"]["labels"] = {"pool": "workers"}
    deployment["spec"]["template"]["spec"]["healthTimeout"] = "1s"
    cluster.apply("secret.yaml", "machine-class.yaml", deployment)
    await_machines(cluster, 3, "standard-2")
    lost = cluster.names(Machine)
    for machine in lost:
        break_down(cluster, machine)

    await_condition(cluster.phases, lambda phases: not lost & {*phases}, "all should be replaced")
    refused = "couldn't be marked FAILED, other machines are getting replaced"
    assert (refused in cluster.log_of("machine-controller")) == labelled
