"""Hosts, which are namespaces instead of VMs, and the network that connects them."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final

from e2e.process import Process, await_condition
from e2e.real.requirements import CGROUPS, NEW_NAMESPACES

_KERNEL_SETTINGS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet changes for the whole machine. On a host these are files of its own."""

_INIT: Final = """
for folder in lib log; do mount --bind "$0/$folder" "/var/$folder"; done
mount -t tmpfs tmpfs /run
for setting in "$@"; do mount --bind "$0/settings/$setting" "/proc/sys/$setting"; done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
touch /run/up
sleep infinity &
wait
"""
"""The first process of a host. The shell's `wait` also reaps orphans."""


class Host:
    """A process in namespaces of its own, and a cgroup.

    It has its own network, processes, mounts, `/run`, `/var/lib` and `/var/log`. It shares all
    other files with this machine.

    Args:
        cgroup: The path of its cgroup below the root of each hierarchy.
        folder: For its files and logs.

    Attributes:
        pid: The ID of its first process.
        namespaces: What identifies its mount and PID namespaces under `/proc`, and an open file of
            each. The kernel would otherwise give the same to a new namespace after its end.
    """

    def __init__(self, cgroup: str, folder: Path) -> None:
        self.cgroup = cgroup
        self.folder = folder
        for name in ("lib", "log"):
            (folder / name).mkdir(parents=True)
        for name, value in _KERNEL_SETTINGS.items():
            path = folder / "settings" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
        there = [name for name in _KERNEL_SETTINGS if Path("/proc/sys", name).exists()]
        command = [*NEW_NAMESPACES, "sh", "-euc", _INIT]
        self._started: list[Process] = []
        self._holder = Process([*command, folder, *there], folder / "host.log")
        try:
            self.pid = await_condition(self._first_process, bool, "the host should start")
            up = Path(f"/proc/{self.pid}/root/run/up")
            await_condition(up.exists, bool, f"the host should be up; see {folder / 'host.log'}")
            found = [Path(f"/proc/{self.pid}/ns/{kind}") for kind in ("mnt", "pid")]
            self.namespaces = {str(path.readlink()): os.open(path, os.O_RDONLY) for path in found}
            _make_cgroups(cgroup)
        except BaseException:
            self.end()
            raise

    def run(self, *command: str | Path) -> str:
        """Run a command on it that must succeed, and return what it prints."""
        result = subprocess.run(self._inside(command), capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def succeeds(self, *command: str | Path) -> bool:
        """Run a command on it, and return whether it succeeds."""
        return (
            subprocess.run(self._inside(command), capture_output=True, check=False).returncode == 0
        )

    def start(self, name: str, *command: str | Path) -> Process:
        """Start a process on it, which ends with the host at the latest."""
        process = Process(self._inside(command), self.folder / f"{name}.log")
        self._started.append(process)
        return process

    def end(self) -> None:
        """End all its processes, and remove its cgroups. A second call does nothing."""
        first = self._first_process()
        if first:
            os.kill(first, signal.SIGKILL)  # the kernel then kills all others in its namespace
        for process in [*self._started, self._holder]:
            process.kill()
        _remove_cgroups(self.cgroup)

    def _first_process(self) -> int:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        try:
            return int(children.read_text() or "0")
        except FileNotFoundError:
            return 0

    def _inside(self, command: Sequence[str | Path]) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--all", *map(str, command)]


class Network:
    """A network of this machine and hosts, without a way to any other network.

    One more host is its router, so that this machine's firewall does not apply.

    Args:
        folder: For its files.
        processes: Ends it.

    Attributes:
        name: The prefix of its links and cgroups.
        address: The address of this machine in it.
    """

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        number = _free_number()
        self.name = f"e2e{number}"
        self._prefix = f"10.{number}"
        self.address = f"{self._prefix}.0.1"
        self._router = Host(f"{self.name}/router", folder / "router")
        processes.callback(self._end)
        self._connected = 9
        bridge = "ip link add nodes type bridge && ip link set nodes up && ip address add"
        self._router.run("sh", "-euc", f"{bridge} {self._prefix}.0.2/24 dev nodes")
        at_router = ("name", "machine", "netns", str(self._router.pid))
        _ip("link", "add", self.name, "type", "veth", "peer", *at_router)
        self._plug("machine")
        _ip("address", "add", f"{self.address}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    @property
    def namespaces(self) -> dict[str, int]:
        """Those of the router."""
        return self._router.namespaces

    def connect(self, host: Host) -> tuple[str, IPv4Network]:
        """Connect a host, and return its address and the network for its Pods."""
        self._connected += 1
        port, address = f"host{self._connected}", f"{self._prefix}.0.{self._connected}"
        pods = IPv4Network(f"{self._prefix}.{self._connected}.0/24")
        inside = ("name", "eth0", "netns", str(host.pid))
        _ip("link", "add", port, "netns", str(self._router.pid), "type", "veth", "peer", *inside)
        self._plug(port)
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "route", "add", "default", "via", f"{self._prefix}.0.2")
        self._router.run("ip", "route", "replace", str(pods), "via", address)
        return address, pods

    def add_route(self, pods: IPv4Network) -> None:
        """Let this machine reach the network for the Pods, or VMs, of a host."""
        _ip("route", "add", str(pods), "via", f"{self._prefix}.0.2")

    def _plug(self, port: str) -> None:
        self._router.run("ip", "link", "set", port, "master", "nodes", "up")

    def _end(self) -> None:
        self._router.end()
        _remove_cgroups(self.name)


def kernel_settings() -> dict[str, str]:
    """Return the settings of this machine that a kubelet would change."""
    paths = {name: Path("/proc/sys", name) for name in _KERNEL_SETTINGS}
    return {name: path.read_text() for name, path in paths.items() if path.exists()}


def _free_number() -> int:
    """Return N so that no route of this machine goes into 10.N.0.0/16."""
    routes = json.loads(subprocess.check_output(["ip", "-json", "route", "show", "table", "all"]))
    taken = [
        ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"
    ]
    # At random, since another run may be looking for one, too.
    for number in random.sample(range(64, 255), k=191):
        if not any(ip_network(f"10.{number}.0.0/16").overlaps(each) for each in taken):
            return number
    raise AssertionError("all networks 10.N.0.0/16 are in use here")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _hierarchies() -> list[Path]:
    """Return the roots of all cgroup hierarchies: one of version 2, or several of version 1."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    return [each for each in CGROUPS.iterdir() if (each / "cgroup.procs").exists()]


def _make_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        above = hierarchy
        for part in name.split("/"):
            group = above / part
            if hierarchy == CGROUPS:
                _delegate_controllers(above)
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of version 1
                if hierarchy != CGROUPS and (group / setting).exists():
                    (group / setting).write_text((above / setting).read_text())
            above = group


def _delegate_controllers(group: Path) -> None:
    """Let the groups below a group of version 2 use all controllers that it has."""
    controllers = (group / "cgroup.controllers").read_text().split()
    enabled = " ".join(f"+{name}" for name in controllers)
    (group / "cgroup.subtree_control").write_text(enabled)


def _remove_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            remove = partial(_is_removed, Path(folder))
            await_condition(remove, bool, f"{folder} should be empty")


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:  # its last process is not quite gone
        return False
    return True
