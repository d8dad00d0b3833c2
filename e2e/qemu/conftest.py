"""Hosts with libvirt. Each test leaves them as it has found them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cmi.client import Client
from cmi.testing import MachineClass
from e2e.binaries import PAUSE
from e2e.process import await_value
from e2e.qemu import image, requirements
from e2e.qemu.daemon import POOL, UNUSED, Libvirtd
from e2e.qemu.farm import GUEST, LONG, Farm
from e2e.real.cluster import leftovers_of
from e2e.real.host import kernel_settings
from e2e.real.requirements import unmet
from tests.driver import RunningDriver
from tests.examples.conftest import on_libvirt  # noqa: F401 - a fixture
from tests.support import make


@pytest.fixture(scope="session")
def farm(
    binaries: None,
    on_libvirt: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Farm]:
    if reason := unmet():
        pytest.skip(reason)
    if requirements.missing() or not PAUSE.exists() or not image.image().exists():
        pytest.skip("packages or the VMs' image are missing; run `make e2e-libvirt`")
    make(on_libvirt, "setup")
    settings = kernel_settings()
    folder = tmp_path_factory.mktemp("kvm")
    with ExitStack() as processes:
        farm = Farm(folder, on_libvirt, processes)
        yield farm
    await_value(lambda: leftovers_of(farm.network, farm.namespaces, folder), [])
    assert kernel_settings() == settings


@pytest.fixture(scope="session")
def driver(farm: Farm) -> Iterator[RunningDriver]:
    with farm.driver("--log-level=debug") as driver:
        yield driver


@contextmanager
def left_unused(host: Libvirtd) -> Iterator[Libvirtd]:
    """Yield a host; check at the end that nothing is left on it."""
    yield host
    try:
        await_value(host.inventory, UNUSED)
    finally:
        host.clean()


@pytest.fixture
def host(farm: Farm) -> Iterator[Libvirtd]:
    """The first host. Each test leaves it as it has found it."""
    with left_unused(farm.host) as host:
        yield host


@pytest.fixture
def other(farm: Farm) -> Iterator[Libvirtd]:
    """The other host, likewise."""
    with left_unused(farm.other) as host:
        yield host


@pytest.fixture
def client(driver: RunningDriver) -> Client:
    return driver.client(LONG)


@pytest.fixture
def machine_class(farm: Farm) -> MachineClass:
    return farm.samples().machine_class()


@pytest.fixture
def guest(host: Libvirtd) -> Iterator[None]:
    """The image of a guest system, in the pool of the first host."""
    host.add_image(GUEST, image.image())
    yield
    host.virsh("vol-delete", GUEST, POOL)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as processes:
        yield processes
