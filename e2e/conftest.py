"""A cluster for each test. If a test fails, its report contains the logs of the cluster."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.binaries import BRIDGE, KUBERNETES
from e2e.cluster import Cluster
from e2e.process import await_value
from e2e.real import requirements
from e2e.real.cluster import RealCluster
from e2e.real.host import kernel_settings
from e2e.real.images import BASE, images_of
from tests.conftest import installed, surroundings, template  # noqa: F401 - fixtures
from tests.driver import starting
from tests.forks import no_forks  # noqa: F401 - a fixture for every test

LAST_LINES = 15


@pytest.fixture(scope="session")
def binaries() -> None:
    for folder in (BRIDGE, KUBERNETES):
        assert folder.exists(), f"{folder} does not exist; run `make e2e`"


@pytest.fixture
def cluster(binaries: None, tmp_path: Path, installed: Path) -> Iterator[Cluster]:  # noqa: F811
    """A cluster in which only the control plane runs."""
    with ExitStack() as processes:
        cluster = Cluster(tmp_path, installed, starting(installed, processes), processes)
        yield cluster
        assert cluster.control_plane.refused() == []


@pytest.fixture(scope="session")
def real_cluster(
    binaries: None,
    installed: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RealCluster]:
    """A cluster with a node. It enforces the restricted standard in its default namespace."""
    if reason := requirements.unmet():
        pytest.skip(reason)
    if requirements.missing() or not BASE.exists():
        pytest.skip("the cluster's packages or its base image are missing; run `make e2e-cluster`")
    images = images_of(installed)
    for image in images:
        assert image.archive.exists(), f"{image.archive} does not exist; run `make e2e-cluster`"
    settings = kernel_settings()
    with ExitStack() as processes:
        cluster = RealCluster(tmp_path_factory.mktemp("real"), images, processes)
        yield cluster
    await_value(cluster.leftovers, [])
    assert kernel_settings() == settings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and "tmp_path" in fixtures:
        if "cluster" in fixtures:
            fixtures["cluster"].write_driver_logs()
        for log in sorted(fixtures["tmp_path"].glob("*.log")):
            lines = log.read_text().splitlines()[-LAST_LINES:]
            report.sections.append((f"end of {log}", "\n".join(lines)))
    if report.failed:
        for name in {"real_cluster", "farm"} & fixtures.keys():
            report.sections.append((name, fixtures[name].report()))
    return report
