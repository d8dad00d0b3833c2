"""A cluster for each test, and its logs in the report of a test that failed."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.binaries import BRIDGE, KUBERNETES
from e2e.cluster import Cluster
from tests.conftest import installed, surroundings, template  # noqa: F401 - fixtures
from tests.driver import starting
from tests.forks import no_forks  # noqa: F401 - a fixture for every test

LAST_LINES = 15


@pytest.fixture(scope="session")
def binaries() -> None:
    for folder in (BRIDGE, KUBERNETES):
        assert folder.exists(), f"{folder} does not exist; `make e2e` builds it"


@pytest.fixture
def cluster(binaries: None, tmp_path: Path, installed: Path) -> Iterator[Cluster]:  # noqa: F811
    """A cluster in which only the control plane runs."""
    with ExitStack() as processes:
        cluster = Cluster(tmp_path, installed, starting(installed, processes), processes)
        yield cluster
        assert cluster.control_plane.refused() == []


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
    return report
