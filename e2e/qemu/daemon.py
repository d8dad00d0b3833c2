"""libvirtd on a host of its own, and what people see and do there."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from e2e.process import await_condition, await_value
from e2e.qemu.remote import Login, Remote
from e2e.real.host import Host, Network

POOL: Final = "default"
NETWORK: Final = "default"
"""The pool and the network of each host."""

EMPTY: Final = "empty.qcow2"
"""The image of an empty disk, in each pool."""

UNUSED: Final[tuple[dict[str, str], set[str], int]] = ({}, {f"pool/{EMPTY}"}, 0)
"""The inventory of a host without VMs."""

_LIBVIRTD: Final = """
unix_sock_dir = "{folder}"
auth_unix_rw = "none"
"""
_QEMU: Final = """
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
# The host is a container, in which these are of no use.
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
_NETWORK: Final = """
<network>
  <name>{name}</name>
  <forward mode="open"/>
  <bridge name="vms"/>
  <ip address="{gateway}" prefix="24"><dhcp><range start="{first}" end="{last}"/></dhcp></ip>
</network>
"""


class Libvirtd:
    """A host with libvirtd, a pool and a network.

    Args:
        name: Its name.
        folder: The folder for that of its files, which has its name.
        network: The network to connect it to.
        processes: Ends it.
        login: What the host asks for; None if it is only reached through its socket.

    Attributes:
        host: The host on which it runs.
        socket: Where it listens.
        uri: Its URI for a driver on this machine.
        pool: The folder of its pool.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        network: Network,
        processes: ExitStack,
        login: Login | None = None,
    ) -> None:
        self.name = name
        self._folder = folder / name
        self.host = Host(f"{network.name}/{name}", self._folder)
        processes.callback(self.host.end)
        address, vms = network.connect(self.host)
        network.add_route(vms)
        self.socket = self._folder / "libvirt-sock"
        self.uri = uri_of(self.socket)
        self.pool = self._folder / "pool"
        self._virsh = ("virsh", f"--connect={self.uri}")
        self._libvirtd = ["libvirtd", f"--config={self._folder / 'etc/libvirtd.conf'}"]
        self._configure()
        if login:
            self._listen(Remote(self._folder / "remote", address, login))
        self.start()
        self.add_pool(POOL, self.pool)
        self._add_network(vms)

    def start(self) -> None:
        """Start libvirtd, or restart it."""
        self.socket.unlink(missing_ok=True)
        daemon = self.host.start("libvirtd", *self._libvirtd)

        def answers() -> bool:
            daemon.check()
            return self.host.succeeds(*self._virsh, "version")

        await_condition(answers, bool, f"see {self._folder / 'libvirtd.log'}")

    def kill(self) -> None:
        """End libvirtd like kill -9. The VMs and the programs that it has started go on."""
        for process in self.processes("libvirtd"):
            os.kill(process, signal.SIGKILL)
        await_value(lambda: self.processes("libvirtd"), [])

    @contextmanager
    def dead(self) -> Iterator[None]:
        """Let libvirtd be dead while the context is open."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def virsh(self, *arguments: str | Path) -> list[str]:
        """Run virsh, and return the lines that it prints."""
        output = self.host.run(*self._virsh, "--quiet", *arguments)
        return [line for line in output.splitlines() if line.strip()]

    def add_pool(self, name: str, folder: Path) -> None:
        """Add a pool with the image of an empty disk; create its folder if it does not exist."""
        folder.mkdir(exist_ok=True)
        self.host.run("qemu-img", "create", "-q", "-f", "qcow2", folder / EMPTY, "1G")
        self.virsh("pool-define-as", name, "dir", "--target", folder)
        self.virsh("pool-start", name)

    def add_image(self, name: str, image: Path) -> None:
        """Put an image into the default pool."""
        shutil.copy(image, self.pool / name)
        self.virsh("pool-refresh", POOL)

    def domains(self) -> dict[str, str]:
        """Return the states of all domains, by their names."""
        lines = [line.split(maxsplit=2) for line in self.virsh("list", "--all")]
        return {name: state for _, name, state in lines}

    def processes(self, name: str = "qemu-system") -> list[int]:
        """Return the IDs of the processes whose name begins so, as this machine numbers them."""
        namespace = Path(f"/proc/{self.host.pid}/ns/pid").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_here = (process / "ns/pid").readlink() == namespace
                if is_here and (process / "comm").read_text().startswith(name):
                    found.append(int(process.name))
            except OSError:  # it ends just now
                continue
        return found

    def files(self) -> set[str]:
        """Return the files in the pool, and those that libvirt keeps with domains."""
        own = self._folder / "lib/libvirt"
        kept = [
            path
            for part in ("qemu/save", "qemu/nvram", "qemu/snapshot", "qemu/checkpoint")
            for path in (own / part).rglob("*")
            if path.is_file()
        ]
        defined = self._folder.glob("etc/qemu/**/*.xml")
        domains = [path for path in defined if "networks" not in path.parts]
        found = [*self.pool.iterdir(), *kept, *domains]
        return {str(path.relative_to(self._folder)) for path in found}

    def inventory(self) -> tuple[dict[str, str], set[str], int]:
        """Return all domains and files, and how many QEMU processes there are."""
        return self.domains(), self.files(), len(self.processes())

    def clean(self) -> None:
        """Remove what a failed test has left behind."""
        for name, state in self.domains().items():
            if state != "shut off":
                self.virsh("destroy", name)
            self.virsh("undefine", name, "--managed-save", "--snapshots-metadata", "--nvram")
        for path in self.pool.iterdir():
            if path.name != EMPTY:
                path.unlink()
        self.virsh("pool-refresh", POOL)

    def report(self) -> str:
        """Return its domains and the end of its log, for the report of a failed test."""
        log = (self._folder / "libvirtd.log").read_text().splitlines()[-30:]
        try:
            there = str(self.inventory())
        except AssertionError as error:  # the host or its libvirtd is dead
            there = str(error)
        return "\n".join([f"{self.name}: {there}", *log])

    def _configure(self) -> None:
        """Let it have a configuration and a cache of its own."""
        for part in ("etc", "cache"):
            (self._folder / part).mkdir()
        (self._folder / "etc/libvirtd.conf").write_text(_LIBVIRTD.format(folder=self._folder))
        (self._folder / "etc/qemu.conf").write_text(_QEMU)
        for part, place in {"etc": "/etc/libvirt", "cache": "/var/cache/libvirt"}.items():
            self.host.run("mount", "--bind", self._folder / part, place)

    def _listen(self, remote: Remote) -> None:
        """Let it also be reached over the network."""
        with (self._folder / "etc/libvirtd.conf").open("a") as file:
            file.write(remote.configuration)
        environment = ("env", f"SASL_CONF_PATH={remote.sasl}")
        self._libvirtd = [*environment, *self._libvirtd, "--listen"]
        self.uri = remote.uri

    def _add_network(self, vms: IPv4Network) -> None:
        """Add a network that gives VMs addresses."""
        file = self._folder / "network.xml"
        gateway, first, *_, last = vms.hosts()
        text = _NETWORK.format(name=NETWORK, gateway=gateway, first=first, last=last)
        file.write_text(text)
        self.virsh("net-define", file)
        self.virsh("net-start", NETWORK)


def uri_of(socket: Path) -> str:
    """Return the URI of a host that listens on a Unix socket."""
    return f"qemu+unix:///system?socket={socket}"
