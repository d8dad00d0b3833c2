"""Features of MCM's drivers in Go, through the bridge."""

import re
from contextlib import ExitStack
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from e2e.binaries import mcm_source
from e2e.cluster import PROVIDER, Cluster, Machine
from e2e.process import await_value
from e2e.test_machine import SAMPLES, await_error
from tests.driver import CloudFile, RunningDriver
from tests.embedded_cloud import opened
from tests.support import ROOT

MCM_SOURCE = mcm_source()  # read here, because tests have another home, without Go's modules

ORDERING = """
from functools import wraps
from acme.machineserver import MachineServer
from acme.app import main
from cmi import Unavailable, remember

def ordered(method, order):
    @wraps(method)
    def call(self, request):
        if request.last_known_state != order:
            remember(order)
            raise Unavailable("the order is accepted")
        return method(self, request)
    return call

MachineServer.create_machine = ordered(MachineServer.create_machine, "order 4711")
MachineServer.delete_machine = ordered(MachineServer.delete_machine, "cancellation 4712")
main()
"""
"""A driver whose cloud accepts orders, and can't tag a resource until an order is complete."""


def calls_of(cluster: Cluster, rpc: str) -> list[str]:
    """Return the codes of the calls of an RPC in the log of the driver that was started last."""
    events = cluster.driver.events()
    return [str(each["code"]) for each in events if each.get("rpc") == rpc and "code" in each]


def test_a_machine_is_initialized_once_it_runs(cluster: Cluster) -> None:
    cluster.start()
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Running"})
    (server,) = opened(cluster.cloud.path).servers()
    assert server.forwards
    assert calls_of(cluster, "CreateMachine") == ["OK"]
    assert calls_of(cluster, "InitializeMachine") == ["OK"]


def test_an_uninitialized_machine_is_distinguished_from_a_missing_one(cluster: Cluster) -> None:
    """The driver crashes between both steps. Then the VM is initialized, not created again."""
    cluster.start(nodes=False, faults="allow_forwarding=crash*1")
    cluster.apply(*SAMPLES)
    cluster.driver.wait()
    (before,) = opened(cluster.cloud.path).servers()
    assert (before.status, before.forwards) == ("running", False)
    cluster.start_driver()
    await_value(cluster.phases, {"acme-machine": "Available"})
    (after,) = opened(cluster.cloud.path).servers()
    assert (after.id, after.forwards) == (before.id, True)
    assert calls_of(cluster, "CreateMachine") == []
    assert "was created but not initialized" in cluster.log_of("machine-controller")


def test_a_machine_without_a_target_cluster_shows_its_addresses(cluster: Cluster) -> None:
    cluster.start(nodes=False)
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Available"})
    (server,) = opened(cluster.cloud.path).servers()
    addresses = [
        {"type": "Hostname", "address": "acme-machine"},
        {"type": "InternalIP", "address": server.address},
    ]
    await_value(lambda: cluster.status("acme-machine").get("addresses"), addresses)


def test_a_driver_keeps_its_state_with_an_error(installed: Path, tmp_path: Path) -> None:
    with ExitStack() as processes:

        def start(cloud: CloudFile, *options: str, **_settings: object) -> RunningDriver:
            addresses = ["--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0"]
            command: list[str | Path] = [installed / ".venv/bin/python", "-c", ORDERING, *addresses]
            environment = {"EMBEDDED_CLOUD_FILE": str(cloud.path)}
            driver = RunningDriver([*command, "--log-format=json", *options], environment)
            return processes.enter_context(driver)

        cluster = Cluster(tmp_path, installed, start, processes)
        cluster.start(nodes=False)
        cluster.apply(*SAMPLES)
        await_value(cluster.phases, {"acme-machine": "Available"})
        assert cluster.status("acme-machine")["lastKnownState"] == "order 4711"
        assert {*calls_of(cluster, "CreateMachine")} == {"UNAVAILABLE", "OK"}

        cluster.delete(Machine, "acme-machine")
        await_value(cluster.phases, {})
        assert {*calls_of(cluster, "DeleteMachine")} == {"UNAVAILABLE", "OK"}
        assert cluster.vms() == {}


def test_a_class_of_another_provider_is_refused(cluster: Cluster) -> None:
    cluster.start(nodes=False)
    other = cluster.sample("machine-class.yaml")
    other["provider"] = "another"
    cluster.apply("secret.yaml", other, "machine.yaml")
    message = await_error(cluster, "acme-machine", "InvalidArgument")
    assert f'for the provider "another", and the driver {PROVIDER}.gardener' in message
    assert cluster.vms() == {}
    assert cluster.calls("list_machines") == 0

    cluster.apply("machine-class.yaml")
    again = {"spec": {"nodeTemplate": {"metadata": {"annotations": {"corrected": "yes"}}}}}
    cluster.patch(Machine, "acme-machine", again)
    await_value(cluster.phases, {"acme-machine": "Available"})


def test_a_dashboard_of_a_driver_in_go_finds_its_metrics(cluster: Cluster) -> None:
    """The bridge or driver has every cloud metric in MCM's library, with the same labels."""
    cluster.start(nodes=False, faults="list_servers=throttled*1")
    cluster.apply(*SAMPLES)
    await_value(cluster.phases, {"acme-machine": "Available"})
    served: dict[str, tuple[str, set[str]]] = {}
    for text in (cluster.bridge_answers("/metrics"), cluster.driver.metrics()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = set(sample.labels) - {"le"}
                served.setdefault(family.name.removesuffix("_total"), (family.type, labels))
    for name, kind, labels in metrics_of_mcm():
        assert served.get(name.removesuffix("_total")) == (kind, labels), name


def test_the_functions_that_the_reference_names_are_those_of_mcm() -> None:
    page = (ROOT / "docs/reference/contract.md").read_text()
    _, _, section = page.partition("## Where machine-controller-manager decides this")
    source = "".join(path.read_text() for path in (MCM_SOURCE / "pkg/util/provider").rglob("*.go"))
    functions = re.findall(r"`(\w+)`", section.partition("## ")[0])
    assert len(functions) > 5
    defined = re.findall(r"^func (?:\(.*?\) )?(\w+)\(", source, re.MULTILINE)
    assert set(functions) <= set(defined)


def metrics_of_mcm() -> list[tuple[str, str, set[str]]]:
    """Return name, type and labels of MCM's metrics with the subsystem `cloud_api`."""
    source = (MCM_SOURCE / "pkg/util/provider/metrics/metrics.go").read_text()
    found = re.findall(
        r"prometheus\.New(\w+)Vec\([^}]*?Subsystem: *cloudAPISubsystem,\s*Name: *\"(\w+)\""
        r"[^}]*\}, \[\]string\{([^}]*)\}",
        source,
    )
    assert len(found) == source.count("cloudAPISubsystem,")
    return [
        (f"mcm_cloud_api_{name}", kind.lower(), {*re.findall(r"\w+", labels)})
        for kind, name, labels in found
    ]
