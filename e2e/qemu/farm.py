"""Hosts with libvirt, a driver for them, and machine classes for VMs that they can run."""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cmi.testing import Samples
from e2e.cluster import Manifest
from e2e.process import PATIENCE
from e2e.qemu import image
from e2e.qemu.daemon import EMPTY, POOL, Libvirtd, uri_of
from e2e.qemu.relay import Relay
from e2e.qemu.remote import Login
from e2e.real.host import Network
from tests.driver import RunningDriver

HOSTS = ("rack1", "rack2")
LOGIN = Login("machine-driver@hosts", "swordfish")
LOGIN_SECRETS = {key: value.encode() for key, value in LOGIN._asdict().items()}
NO_LOGIN = {"username": None, "password": None}
MACHINE = "m1"
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
        self._python = str(project / ".venv/bin/python")
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
        addresses = ("--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0")
        command = [self._python, "-m", "kvm", *addresses, "--log-format=json", *options]
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

    def client_prints(self, driver: RunningDriver, samples: Samples, *arguments: str) -> str:
        """Return what the command-line client prints for a machine class and a secret."""
        files = [
            f"--class={samples.folder / 'machine-class.yaml'}",
            f"--secret={samples.folder / 'secret.yaml'}",
        ]
        command = [self._python, "-m", "cmi", *arguments, *files, f"--endpoint={driver.endpoint}"]
        result = subprocess.run(
            command, cwd=self.project, capture_output=True, text=True, timeout=LONG, check=False
        )
        assert result.returncode == 0, f"{result.stdout}{result.stderr}"
        return result.stdout
