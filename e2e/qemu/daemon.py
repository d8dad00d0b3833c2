"""libvirtd on a host of its own, and what people see and do there."""

import shutil
import subprocess
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from e2e.process import await_condition
from e2e.qemu.remote import Login, Remote
from e2e.real.host import Host, Network

NAME: Final = "default"
"""The pool, and the network, of each host."""

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
_POOL: Final = """
<pool type="dir"><name>{name}</name><target><path>{path}</path></target></pool>
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
        self.pool.mkdir()
        self._virsh = ("virsh", f"--connect={self.uri}")
        self._libvirtd = ["libvirtd", f"--config={self._folder / 'etc/libvirtd.conf'}"]
        self._configure()
        if login:
            self._listen(Remote(self._folder / "remote", address, login))
        self.start()
        self._define("pool", _POOL.format(name=NAME, path=self.pool))
        self._define("net", _network(vms))

    def start(self) -> None:
        """Start libvirtd, or restart it."""
        self.socket.unlink(missing_ok=True)
        self._daemon = self.host.start("libvirtd", *self._libvirtd)
        await_condition(
            lambda: self.host.succeeds(*self._virsh, "version"),
            bool,
            f"libvirtd should be ready; see {self._folder / 'libvirtd.log'}",
        )

    def kill(self) -> None:
        """End libvirtd like kill -9; the VMs go on."""
        self._daemon.kill()

    def virsh(self, *arguments: str | Path) -> list[str]:
        """Run virsh, and return the lines that it prints."""
        output = self.host.run(*self._virsh, "--quiet", *arguments)
        return [line for line in output.splitlines() if line.strip()]

    def add_image(self, name: str, image: Path | None = None) -> None:
        """Put an image into the pool; one of an empty disk if None."""
        place = self.pool / name
        if image:
            shutil.copy(image, place)
        else:
            command = ["qemu-img", "create", "-q", "-f", "qcow2", str(place), "1G"]
            subprocess.run(command, check=True)
        self.virsh("pool-refresh", NAME)

    def domains(self) -> dict[str, str]:
        """Return the states of all domains, by their names."""
        names = self.virsh("list", "--all", "--name")
        return {name: self.virsh("domstate", name)[0] for name in names}

    def processes(self) -> list[int]:
        """Return the IDs of the QEMU processes, as this machine numbers them."""
        namespace = Path(f"/proc/{self.host.pid}/ns/pid").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_here = (process / "ns/pid").readlink() == namespace
                if is_here and (process / "comm").read_text().startswith("qemu-system"):
                    found.append(int(process.name))
            except OSError:  # it ends just now
                continue
        return found

    def files(self) -> set[str]:
        """Return the files in the pool, and those that libvirt keeps with domains."""
        own = self._folder / "lib/libvirt"
        kept = [
            path
            for part in ("qemu/save", "qemu/nvram", "qemu/snapshot", "qemu/checkpoint", "swtpm")
            for path in (own / part).rglob("*")
            if path.is_file()
        ]
        defined = self._folder.glob("etc/qemu/**/*.xml")
        domains = [path for path in defined if "networks" not in path.parts]
        found = [*self.pool.iterdir(), *kept, *domains]
        return {str(path.relative_to(self._folder)) for path in found}

    def left(self) -> tuple[dict[str, str], set[str], int]:
        """Return all domains and files, and how many QEMU processes there are."""
        return self.domains(), self.files(), len(self.processes())

    def addresses(self) -> list[str]:
        """Return the addresses of the VMs."""
        return [line.split()[4].partition("/")[0] for line in self.virsh("net-dhcp-leases", NAME)]

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

    def _define(self, kind: str, xml: str) -> None:
        """Define and start a pool or a network, and let it start with the host."""
        file = self._folder / f"{kind}.xml"
        file.write_text(xml)
        self.virsh(f"{kind}-define", file)
        self.virsh(f"{kind}-autostart", NAME)
        self.virsh(f"{kind}-start", NAME)


def uri_of(socket: Path) -> str:
    """Return the URI of a host that listens on a Unix socket."""
    return f"qemu+unix:///system?socket={socket}"


def _network(vms: IPv4Network) -> str:
    gateway, first, *_, last = vms.hosts()
    return _NETWORK.format(name=NAME, gateway=gateway, first=first, last=last)
