"""The bridge between MCM and a driver in Python: its connections and messages."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lightkube.resources.coordination_v1 import Lease

from cmi.tls import TlsFiles
from e2e.binaries import BRIDGE
from e2e.cluster import Cluster, Machine
from e2e.process import await_condition, await_value
from tests.framework.test_tls import authority, client_files, server_files  # noqa: F401 - fixtures

Connect = Callable[[Cluster], None]


@pytest.fixture(params=["unix", "tls"])
def connect(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server_files: TlsFiles,  # noqa: F811
    client_files: TlsFiles,  # noqa: F811
) -> Connect:
    """A way to connect other than in plain text over TCP."""

    def over_socket(cluster: Cluster) -> None:
        cluster.endpoint = f"unix://{tmp_path}/cmi.sock"

    def over_tls(cluster: Cluster) -> None:
        cluster.driver_options = (
            f"--tls-cert={server_files.certificate}",
            f"--tls-key={server_files.key}",
            f"--tls-client-ca={server_files.ca}",
        )
        cluster.bridge_options = (
            f"--cmi-tls-cert={client_files.certificate}",
            f"--cmi-tls-key={client_files.key}",
            f"--cmi-tls-ca={client_files.ca}",
        )

    return over_socket if request.param == "unix" else over_tls


def test_other_ways_to_connect(cluster: Cluster, connect: Connect) -> None:
    connect(cluster)
    cluster.start(nodes=False)
    cluster.apply("secret.yaml", "machine-class.yaml", "machine.yaml")
    await_value(cluster.phases, {"acme-machine": "Available"})
    assert cluster.vms() == {"acme-machine": "running"}

    assert cluster.bridge_answers("/healthz")
    created = (
        "mcm_cloud_api_driver_request_duration_seconds_count"
        '{operation="create_machine",provider="acme.gardener"} 1'
    )
    assert created in cluster.bridge_answers("/metrics").splitlines()

    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {})
    assert cluster.vms() == {}


def leader(cluster: Cluster) -> str:
    """Return the holder of the machine-controllers' lease; an empty text if there is none."""
    lease = cluster.control_plane.client.get(Lease, "machine-controller")
    assert lease.spec is not None
    return lease.spec.holderIdentity or ""


def test_sigterm_awaits_calls_and_gives_the_lease_back(cluster: Cluster) -> None:
    cluster.start(nodes=False, latency=0.5)
    cluster.apply("secret.yaml", "machine-class.yaml", "machine.yaml")
    await_condition(lambda: cluster.cloud.names("creating"), bool, "a VM should be half made")
    assert leader(cluster) != ""
    assert cluster.bridge.stop() == 0
    assert leader(cluster) == ""
    assert cluster.vms() == {"acme-machine": "running"}

    cluster.bridge.start()
    await_value(cluster.phases, {"acme-machine": "Available"})
    assert leader(cluster) != ""
    assert cluster.calls("create_machine") == 1


def test_sigterm_ends_a_bridge_that_waits_for_its_driver(cluster: Cluster) -> None:
    cluster.start(nodes=False)
    cluster.driver.signal(signal.SIGTERM)
    cluster.driver.wait()
    cluster.bridge.kill()
    before = len(cluster.log_of("machine-controller"))  # the first bridge may have waited too
    cluster.bridge.start()
    await_condition(
        lambda: cluster.log_of("machine-controller")[before:],
        lambda log: "Waiting for" in log,
        "it waits",
    )
    assert cluster.bridge.stop() == 0


def test_a_name_that_mcm_panics_on_holds_nothing_else_up(cluster: Cluster) -> None:
    cluster.start()
    short = cluster.sample("machine.yaml")
    short["metadata"]["name"] = "m1"
    cluster.apply("secret.yaml", "machine-class.yaml", short)
    await_condition(
        lambda: cluster.log_of("machine-controller"),
        lambda log: "fewer than five characters" in log,
        "the bridge should say what is wrong",
    )
    cluster.apply("machine.yaml")
    await_condition(cluster.phases, lambda phases: phases.get("acme-machine") == "Running", "runs")
    assert cluster.vms() == {"acme-machine": "running"}
    cluster.delete(Machine, "m1")
    await_value(lambda: {*cluster.phases()}, {"acme-machine"})


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--v=4", "--v=4 logs secrets"),
        ("--vmodule=userdata=4", "--vmodule=userdata=4 logs secrets"),
        ("--cmi-endpoint=tcp://192.0.2.1:8080", "192.0.2.1, which is not loopback"),
    ],
)
def test_what_would_reveal_secrets_is_refused(binaries: None, option: str, complaint: str) -> None:
    result = subprocess.run(
        [BRIDGE / "machine-controller", "--target-kubeconfig=/dev/null", option],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()  # from --v=4 on, the log begins with the flags
    assert last.startswith("error: ")
    assert complaint in last
