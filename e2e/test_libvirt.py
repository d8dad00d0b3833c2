"""The driver for libvirt with a real libvirtd, whose VMs run in QEMU without KVM."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from cmi.client import Client
from cmi.conformance.items import ITEMS
from cmi.testing import MachineClass, Samples
from e2e.binaries import PAUSE
from e2e.cluster import Cluster, Machine, Manifest
from e2e.process import PATIENCE, await_condition, await_value
from e2e.qemu import image, nodes, requirements
from e2e.qemu.daemon import EMPTY, POOL, UNUSED, Libvirtd, uri_of
from e2e.qemu.relay import Kind, Message, Procedure, Relay
from e2e.qemu.remote import Login
from e2e.real.cluster import is_ready, leftovers_of
from e2e.real.host import Network, kernel_settings
from e2e.real.images import PAUSE_IMAGE
from e2e.real.requirements import unmet
from tests.driver import CloudFile, RunningDriver, begin, code_of, figure, refused
from tests.examples.conftest import on_libvirt  # noqa: F401 - a fixture
from tests.support import make

pytestmark = pytest.mark.libvirt

HOSTS = ("rack1", "rack2")
LOGIN = Login("machine-driver@hosts", "swordfish")
LOGIN_SECRETS = {key: value.encode() for key, value in LOGIN._asdict().items()}
NO_LOGIN = {"username": None, "password": None}
GUEST = "guest.qcow2"
SMALL: Manifest = {
    "pool": POOL,
    "image": EMPTY,
    "disks": [{"name": "root", "sizeGiB": 1}, {"name": "data", "sizeGiB": 1}],
    "vcpus": 1,
    "memoryMiB": 64,
    "hypervisor": "qemu",
    "cpuMode": "maximum",
}
"""A VM that has nothing to boot from: most tests need no more."""

BOOTING: Manifest = {
    "image": GUEST,
    "disks": [{"name": "root", "sizeGiB": image.SIZE_GIB}],
    "memoryMiB": 512,
}
JOINING: Manifest = {**BOOTING, "vcpus": 2, "memoryMiB": 1280}
LONG = 4 * PATIENCE
"""Without KVM, a guest system is slow, and even slower on a machine that is busy."""


class Farm:
    """Two hosts, and a driver that reaches the first one through a relay.

    It reaches the other one over the network, with TLS and a login.
    """

    def __init__(self, folder: Path, project: Path, processes: ExitStack) -> None:
        self.project = project
        self.network = Network(folder, processes)
        self.hosts = [
            Libvirtd(name, folder, self.network, processes, login)
            for name, login in zip(HOSTS, (None, LOGIN), strict=True)
        ]
        self.host, self.other = self.hosts
        self.relay = processes.enter_context(Relay(folder / "relay", self.host.socket))
        uris = {self.host.name: uri_of(self.relay.path), self.other.name: self.other.uri}
        self.namespaces = dict(self.network.namespaces)
        for each in self.hosts:
            self.namespaces |= each.host.namespaces
        self._variables = {"LIBVIRT_HOSTS": " ".join(f"{name}={uris[name]}" for name in uris)}

    def driver(self, *options: str) -> RunningDriver:
        """Start a driver."""
        python = self.project / ".venv/bin/python"
        addresses = ("--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0")
        command = [str(python), "-m", "kvm", *addresses, "--log-format=json", *options]
        return RunningDriver(command, self._variables)

    def samples(self, secrets: Mapping[str, bytes | None] = NO_LOGIN, **fields: Any) -> Samples:
        """Return the samples, with what the hosts have."""
        return Samples(self.project / "kubernetes", secrets, **{**SMALL, **fields})

    def report(self) -> str:
        """Return what the hosts say, for the report of a failed test."""
        return "\n\n".join(host.report() for host in self.hosts)

    def elsewhere(self, secrets: Mapping[str, bytes | None] = LOGIN_SECRETS) -> Samples:
        """Return the samples for the other host."""
        return self.samples(secrets, host=self.other.name)


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


# A guest system


def test_a_vm_boots_and_runs_its_user_data(
    farm: Farm, driver: RunningDriver, host: Libvirtd, guest: None, tmp_path: Path
) -> None:
    """It tells a server on this machine its host name and ID. Then it is stopped, and deleted.

    Stopping it again does nothing (C34).
    """
    with listening(farm.network.address) as (address, heard):
        user_data = "#!/bin/sh -e\nid=$(cat /sys/class/dmi/id/product_uuid)\n"
        user_data += f"wget -q -O - http://{address}/$(hostname)/$id\n"
        secrets = {**NO_LOGIN, "userData": user_data.encode()}
        samples = farm.samples(secrets, **BOOTING).copy_to(tmp_path)
        run = partial(cmi, farm.project, driver, samples)
        start = time.monotonic()
        provider_id = json.loads(run("create", "hello", "--output=json"))["ProviderID"]
        created = time.monotonic() - start
        wanted = f"/hello/{provider_id.rpartition('/')[2]}"
        await_condition(lambda: wanted in heard, bool, f"{wanted} in {heard}", LONG)
        figure(f"created after {created:.1f} s, user data ran after {time.monotonic() - start:.1f}")
    for _ in range(2):
        run("shutdown", "hello")
        assert host.domains() == {"hello": "shut off"}
    run("delete", "hello")


def test_a_vm_joins_a_cluster(
    farm: Farm, host: Libvirtd, guest: None, tmp_path: Path, processes: ExitStack
) -> None:
    """Under the real MCM, with the bootstrap token in its user data. A Pod runs on it."""
    plane = nodes.joinable(tmp_path, processes, farm.network.address)

    def start(cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        del cloud, settings  # only the embedded cloud has them
        return processes.enter_context(farm.driver(*options))

    cluster = Cluster(tmp_path, farm.project, start, processes, plane)
    cluster.start_driver()
    cluster.start_mcm()
    machine_class, secret = cluster.sample("machine-class.yaml"), cluster.sample("secret.yaml")
    machine_class["providerSpec"] |= {**SMALL, **JOINING}
    secret["stringData"] = {"userData": nodes.user_data(plane, host.name)}
    cluster.apply(secret, machine_class, "machine.yaml")
    (name,) = cluster.names(Machine)
    start_time = time.monotonic()

    def since() -> str:
        return f"{time.monotonic() - start_time:.0f} s"

    def node() -> Manifest | None:
        found = [each.to_dict() for each in plane.client.list(Node)]
        return next((each for each in found if is_ready(each)), None)

    await_condition(host.processes, bool, "a VM", LONG)
    figure(f"QEMU runs after {since()}")
    ready = await_condition(node, bool, "a node that is ready", LONG)
    figure(f"the node is ready after {since()}")
    await_condition(cluster.phases, lambda phases: phases == {name: "Running"}, "Running", LONG)
    figure(f"the machine is Running after {since()}")
    assert ready is not None
    assert ready["metadata"]["name"] == name
    spec = plane.client.get(Machine, name)["spec"]
    assert ready["spec"]["providerID"] == spec["providerID"]

    guest_pod = Pod(
        metadata=ObjectMeta(name="guest", namespace="default"),
        spec=PodSpec(nodeName=name, containers=[Container(name="guest", image=PAUSE_IMAGE)]),
    )
    plane.client.create(guest_pod)
    await_condition(
        lambda: is_ready(plane.client.get(Pod, "guest").to_dict()),
        bool,
        "a Pod that is ready",
        LONG,
    )
    figure(f"a Pod is ready on it after {since()}")

    cluster.delete(Machine, name)
    await_condition(cluster.phases, lambda phases: phases == {}, "no machine", LONG)
    figure(f"the machine is gone after {since()}")
    assert [*plane.client.list(Node)] == []
    assert plane.refused() == []


# Faults

MACHINE = "m1"


class Kill(NamedTuple):
    """When libvirtd is killed.

    Attributes:
        message: A message of the driver or of libvirtd.
        moment: Before the message arrives, after that, or only once a QEMU process runs.
        code: What the machine call answers. The driver repeats some steps by itself, and the
            machine calls of these succeed.
    """

    message: Message
    moment: Literal["before", "after", "while QEMU starts after"]
    code: str

    def __str__(self) -> str:
        procedure, kind, number = self.message
        return f"{self.moment} {kind.name} {number} of {procedure.name}"


def kills(procedure: Procedure, *numbers: int, code: str = "OK") -> Iterator[Kill]:
    """Kill libvirtd before it is called, and before its answer arrives."""
    for number in numbers or (1,):
        yield Kill(Message(procedure, Kind.CALL, number), "before", code)
        yield Kill(Message(procedure, Kind.REPLY, number), "before", code)


KILLS = [
    *kills(Procedure.DOMAIN_DEFINE_XML_FLAGS, code="UNAVAILABLE"),
    *kills(Procedure.STORAGE_VOL_CREATE_XML, 1, 2, 3),  # two disks and the seed
    *kills(Procedure.STORAGE_VOL_UPLOAD),
    Kill(Message(Procedure.STORAGE_VOL_UPLOAD, Kind.STREAM), "after", "OK"),
    *kills(Procedure.DOMAIN_CREATE),
    Kill(Message(Procedure.DOMAIN_CREATE, Kind.CALL), "while QEMU starts after", "OK"),
    *kills(Procedure.DOMAIN_SET_METADATA),
]
KILLS_OF_DELETE = [
    *kills(Procedure.DOMAIN_DESTROY, code="UNAVAILABLE"),
    *kills(Procedure.DOMAIN_UNDEFINE_FLAGS, code="UNAVAILABLE"),
    *kills(Procedure.STORAGE_VOL_DELETE, 1, 3),
]


def call_while_killed(
    farm: Farm, driver: RunningDriver, machine_class: MachineClass, rpc: str, kill: Kill
) -> None:
    """Call an RPC for the machine; libvirtd is killed once, and started again."""

    def act() -> None:
        if kill.moment == "while QEMU starts after":
            await_condition(farm.host.processes, bool, "a QEMU process")
        farm.host.kill()

    passes_on = kill.moment != "before"
    with (
        farm.relay.interruption(kill.message, act, passes_on=passes_on) as happened,
        driver.stub() as stub,
    ):
        called = begin(stub, rpc, machine_class, MACHINE, LONG)
        assert happened.wait(PATIENCE), f"there was no {kill.message}"
        farm.host.start()
        assert code_of(called) == kill.code


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_libvirtd_is_killed_during_a_create(
    farm: Farm,
    driver: RunningDriver,
    host: Libvirtd,
    client: Client,
    machine_class: MachineClass,
    kill: Kill,
) -> None:
    """The call, or its retry, results in one VM, with one of each disk."""
    call_while_killed(farm, driver, machine_class, "CreateMachine", kill)
    created = client.create(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    domains, files, count = host.inventory()
    assert (domains, count) == ({MACHINE: "running"}, 1)
    new = [Path(file).name.rpartition("+")[2] for file in files - UNUSED[1]]
    # The domain starts with its host: there is a link to its file.
    assert sorted(new) == sorted(["root", "data", "seed", *2 * [f"{MACHINE}.xml"]])
    client.delete(machine_class, MACHINE, created.ProviderID)


@pytest.mark.parametrize("kill", KILLS_OF_DELETE, ids=str)
def test_libvirtd_is_killed_during_a_delete(
    farm: Farm,
    driver: RunningDriver,
    host: Libvirtd,
    client: Client,
    machine_class: MachineClass,
    kill: Kill,
) -> None:
    """The call, or its retry, leaves nothing, as the fixture `host` checks."""
    client.create(machine_class, MACHINE)
    call_while_killed(farm, driver, machine_class, "DeleteMachine", kill)
    client.delete(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {}


def test_a_host_is_dead(
    farm: Farm, host: Libvirtd, other: Libvirtd, client: Client, machine_class: MachineClass
) -> None:
    """Calls to it fail, and calls to the other host don't.

    The driver stays ready as long as one host answers.
    """
    created = client.create(machine_class, MACHINE)
    elsewhere = farm.elsewhere().machine_class()
    with host.dead():
        with refused("UNAVAILABLE"):
            client.list_machines(machine_class)
        assert client.list_machines(elsewhere) == {}
        assert client.probe()
        with other.dead():
            with refused("UNAVAILABLE"):
                client.list_machines(elsewhere)
            with refused("FAILED_PRECONDITION", "no host of LIBVIRT_HOSTS answers"):
                client.probe()
    assert client.probe()
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE)


def test_two_hosts_are_apart(
    farm: Farm, host: Libvirtd, other: Libvirtd, client: Client, machine_class: MachineClass
) -> None:
    """The same name on two hosts means two machines.

    A provider ID decides which host a call is about, whatever host the class names.
    """
    elsewhere = farm.elsewhere().machine_class()
    here, there = (client.create(each, "twin") for each in (machine_class, elsewhere))
    assert host.domains() == other.domains() == {"twin": "running"}
    client.delete(elsewhere, "twin", here.ProviderID)
    assert host.domains() == {}
    assert client.list_machines(elsewhere) == {there.ProviderID: "twin"}
    client.delete(elsewhere, "twin", there.ProviderID)


@pytest.mark.parametrize(
    "wrong",
    [{"password": b"wr0ng-9c1e"}, {"username": b"nobody-7f3a@hosts"}, NO_LOGIN],
    ids=["password", "user name", "none"],
)
def test_a_host_refuses_a_wrong_login(
    farm: Farm, driver: RunningDriver, client: Client, wrong: Mapping[str, bytes | None]
) -> None:
    """The right one still works afterwards. The log contains no password."""
    with refused("UNAUTHENTICATED"):
        client.list_machines(farm.elsewhere({**LOGIN_SECRETS, **wrong}).machine_class())
    assert client.list_machines(farm.elsewhere().machine_class()) == {}
    driver.await_event(code="UNAUTHENTICATED")
    passwords = (LOGIN.password, "wr0ng-9c1e")
    assert not [line for line in driver.log if any(each in line for each in passwords)]


@contextmanager
def pool_of(host: Libvirtd, size: str) -> Iterator[str]:
    """Let a host have a pool of a size, with the image of an empty disk; yield its name."""
    name = "small"
    folder = host.pool.with_name(name)
    folder.mkdir(exist_ok=True)
    host.host.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        host.add_pool(name, folder)
        yield name
    finally:
        host.virsh("pool-destroy", name)
        host.virsh("pool-undefine", name)
        host.host.run("umount", folder)


@pytest.mark.parametrize(
    ("size", "user_data", "made"), [("450k", 1_000, ["root"]), ("1m", 500_000, ["data", "root"])]
)
def test_a_pool_is_full(
    farm: Farm, host: Libvirtd, client: Client, size: str, user_data: int, made: list[str]
) -> None:
    """It has no room for the second disk, or for the seed."""
    with pool_of(host, size) as pool:

        def volumes() -> list[str]:
            names = [line.split()[0] for line in host.virsh("vol-list", pool)]
            return sorted(name.rpartition("+")[2] for name in names if name != EMPTY)

        machine_class = farm.samples(pool=pool).machine_class({"userData": b"#" * user_data})
        with refused("RESOURCE_EXHAUSTED", "No space left"):
            client.create(machine_class, MACHINE)
        assert host.processes() == []
        assert volumes() == made
        (provider_id,) = client.list_machines(machine_class)
        client.delete(machine_class, MACHINE, provider_id)
        assert volumes() == []


def test_a_name_is_somebody_elses(
    host: Libvirtd, client: Client, machine_class: MachineClass, tmp_path: Path
) -> None:
    """The driver does not touch that domain, and leaves nothing of its own behind."""
    file = tmp_path / "stranger.xml"
    kind = "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
    file.write_text(
        f"<domain type='qemu'><name>{MACHINE}</name><memory unit='MiB'>64</memory>{kind}</domain>"
    )
    host.virsh("define", file)
    before = host.inventory()
    with refused("ALREADY_EXISTS", f"another domain {MACHINE}"):
        client.create(machine_class, MACHINE)
    client.delete(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {}
    assert host.inventory() == before
    host.virsh("undefine", MACHINE)


def crash(host: Libvirtd) -> None:
    (qemu,) = host.processes()
    os.kill(qemu, signal.SIGKILL)
    await_value(lambda: host.domains().get(MACHINE), "shut off")


def rename(host: Libvirtd) -> None:
    host.virsh("destroy", MACHINE)
    host.virsh("domrename", MACHINE, "other")
    host.virsh("start", "other")


def snapshot_disks(host: Libvirtd) -> None:
    """Let the domain write into new files, whose names people have to choose."""
    named = {"vda": "root", "vdb": "data"}
    files = []
    for name, disk in named.items():
        (path,) = host.pool.glob(f"*+{disk}")
        files.append(f"--diskspec={name},file={path}.s1")
    host.virsh("snapshot-create-as", MACHINE, "s1", "--disk-only", *files)


BEHIND_ITS_BACK: dict[str, Callable[[Libvirtd], object]] = {
    "paused": lambda host: host.virsh("suspend", MACHINE),
    "crashed": crash,
    "stopped": lambda host: host.virsh("destroy", MACHINE),
    "undefined": lambda host: host.virsh("undefine", MACHINE),
    "renamed": rename,
    "snapshot": lambda host: host.virsh("snapshot-create-as", MACHINE, "s1"),
    "snapshot of the disks": snapshot_disks,
    "saved": lambda host: host.virsh("managedsave", MACHINE),
}


@pytest.mark.parametrize("change", BEHIND_ITS_BACK)
def test_a_domain_is_changed_behind_the_drivers_back(
    host: Libvirtd, client: Client, machine_class: MachineClass, change: str
) -> None:
    """It is still the machine's, and deleted with all that libvirt keeps with it."""
    created = client.create(machine_class, MACHINE)
    BEHIND_ITS_BACK[change](host)
    found = client.status(machine_class, MACHINE, created.ProviderID)
    assert (found.ProviderID, found.NodeName) == (created.ProviderID, MACHINE)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE, created.ProviderID)
    assert client.list_machines(machine_class) == {}


def test_a_domain_vanishes(host: Libvirtd, client: Client, machine_class: MachineClass) -> None:
    """Its disks are listed as the machine's until they are deleted."""
    created = client.create(machine_class, MACHINE)
    host.virsh("destroy", MACHINE)
    host.virsh("undefine", MACHINE)
    with refused("NOT_FOUND"):
        client.status(machine_class, MACHINE, created.ProviderID)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE, created.ProviderID)


def test_the_variables_of_the_firmware_are_deleted(
    farm: Farm, host: Libvirtd, client: Client
) -> None:
    machine_class = farm.samples(firmware="efi", memoryMiB=256).machine_class()
    client.create(machine_class, MACHINE)
    assert any("nvram" in file for file in host.files())
    client.delete(machine_class, MACHINE)


def test_the_conformance_list(
    farm: Farm, driver: RunningDriver, other: Libvirtd, tmp_path: Path
) -> None:
    """On the host that asks for a login (C44), but without C34, which needs a guest system."""
    samples = farm.elsewhere().copy_to(tmp_path)
    items = ",".join(item for item in ITEMS if item != "C34")
    print(cmi(farm.project, driver, samples, "conformance", f"--items={items}"))


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as processes:
        yield processes


def cmi(project: Path, driver: RunningDriver, samples: Samples, *arguments: str) -> str:
    """Run the command-line client of a project, with a machine class and a secret."""
    files = [
        f"--class={samples.folder / 'machine-class.yaml'}",
        f"--secret={samples.folder / 'secret.yaml'}",
    ]
    python = str(project / ".venv/bin/python")
    command = [python, "-m", "cmi", *arguments, *files, f"--endpoint={driver.endpoint}"]
    result = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    return result.stdout


@contextmanager
def listening(host: str) -> Iterator[tuple[str, list[str]]]:
    """Let a server listen at a free port; yield its address, and the paths that are asked for."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{host}:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
