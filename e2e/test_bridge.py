"""The bridge between MCM and a driver in Python: how they connect, and what it tells."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmi.tls import TlsFiles
from e2e.cluster import Cluster, Machine
from e2e.process import await_value
from tests.framework.test_tls import authority, client_files, server_files  # noqa: F401 - fixtures

Connect = Callable[[Cluster], None]


@pytest.fixture(params=["unix", "tls"])
def connect(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server_files: TlsFiles,  # noqa: F811
    client_files: TlsFiles,  # noqa: F811
) -> Connect:
    """A way to connect, other than in plain text over TCP."""

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
