"""A cluster whose machines are created by a rendered driver, under the real MCM."""

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.types import PatchType

from e2e.binaries import BRIDGE
from e2e.control_plane import NAMESPACE, ControlPlane
from e2e.kubelet import Kubelets
from e2e.process import PATIENCE, Process, await_condition, repeatedly
from tests.driver import CloudFile, RunningDriver, Start
from tests.embedded_cloud import NAME_LABEL, opened
from tests.support import free_port

Manifest: TypeAlias = dict[str, Any]

PROVIDER = "acme"

Machine = create_namespaced_resource("machine.sapcloud.io", "v1alpha1", "Machine", "machines")
MachineClass = create_namespaced_resource(
    "machine.sapcloud.io", "v1alpha1", "MachineClass", "machineclasses"
)
MachineSet = create_namespaced_resource(
    "machine.sapcloud.io", "v1alpha1", "MachineSet", "machinesets"
)
MachineDeployment = create_namespaced_resource(
    "machine.sapcloud.io", "v1alpha1", "MachineDeployment", "machinedeployments"
)


class Cluster:
    """A control plane with the rendered manifests' RBAC, a cloud, and what runs between them.

    Args:
        folder: For files and logs.
        project: The rendered project, installed.
        start_driver: Starts the driver of the project.
        processes: Ends what is started here.
        control_plane: The API server; one of its own if None.

    Attributes:
        cloud: The driver's cloud.
        samples: The rendered manifests.
        control_plane: The API server.
        endpoint: Where the driver serves.
        driver_options: More options for the driver's command line.
        bridge_options: More options for the bridge's command line.
        bridge_folder: The folder that contains the bridge.
    """

    def __init__(
        self,
        folder: Path,
        project: Path,
        start_driver: Start,
        processes: ExitStack,
        control_plane: ControlPlane | None = None,
    ) -> None:
        self.cloud = CloudFile(folder / "cloud.sqlite")
        self._folder = folder
        self.samples = project / "kubernetes"
        self._start_driver = start_driver
        self._processes = processes
        self.driver_options: tuple[str, ...] = ()
        self.bridge_options: tuple[str, ...] = ()
        self.bridge_folder = BRIDGE
        self._drivers: list[RunningDriver] = []
        self.control_plane = control_plane or ControlPlane(folder, processes)
        self.control_plane.kubectl("apply", "-k", self.samples / "deploy")
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"

    # Processes

    def start(self, *, nodes: bool = True, quick: bool = False, **settings: object) -> None:
        """Start driver, bridge and machine-controller-manager.

        Args:
            nodes: Whether there is a target cluster, which VMs join as nodes.
            quick: Whether MCM may send the API server more requests than its default.
            settings: Settings of the embedded cloud.
        """
        if nodes:
            kubelets = Kubelets(PROVIDER, self.cloud, self.control_plane.client)
            self._processes.enter_context(repeatedly(kubelets.act))
        self.start_driver(**settings)
        self.start_mcm(nodes=nodes, quick=quick)

    def start_mcm(self, *, nodes: bool = True, quick: bool = False) -> None:
        """Start bridge and machine-controller-manager; the arguments are those of `start`."""
        common = ["--kube-api-qps=200", "--kube-api-burst=400"] if quick else []
        self.bridge_address = f"127.0.0.1:{free_port()}"
        self.bridge = self._start(
            "machine-controller",
            self.bridge_address,
            nodes,
            *common,
            f"--cmi-endpoint={self.endpoint}",
            "--machine-safety-orphan-vms-period=5s",
            "--machine-pv-reattach-timeout=1s",
            "--resource-exhausted-retry=5s",
            *self.bridge_options,
        )
        self.mcm_address = f"127.0.0.1:{free_port()}"
        self.mcm = self._start("machine-controller-manager", self.mcm_address, nodes, *common)

    def start_driver(self, **settings: object) -> None:
        """Start the driver, or restart it at the same address."""
        options = (f"--endpoint={self.endpoint}", "--log-level=debug", *self.driver_options)
        self._drivers.append(self._start_driver(self.cloud, *options, **settings))

    @property
    def driver(self) -> RunningDriver:
        """The driver that was started last."""
        return self._drivers[-1]

    def write_driver_logs(self) -> None:
        """Put the drivers' logs next to those of the other processes."""
        lines = [line for driver in self._drivers for line in driver.log]
        (self._folder / "driver.log").write_text("".join(lines))

    def log_of(self, program: str) -> str:
        """Return the log of one of the two programs."""
        return (self._folder / f"{program}.log").read_text()

    def _start(self, program: str, address: str, nodes: bool, *options: str) -> Process:
        """Start one of the two programs, as the service account of its name."""
        host, _, port = address.partition(":")
        kubeconfig = self.control_plane.kubeconfig_of(program)
        folder = self.bridge_folder if program == "machine-controller" else BRIDGE
        command: list[str | Path] = [
            folder / program,
            f"--control-kubeconfig={kubeconfig}",
            f"--target-kubeconfig={kubeconfig if nodes else 'none'}",
            f"--namespace={NAMESPACE}",
            f"--address={host}",
            f"--port={port}",
            "--v=3",
            *options,
        ]
        return self._processes.enter_context(Process(command, self._folder / f"{program}.log"))

    # Objects and VMs

    def sample(self, name: str) -> Manifest:
        """Return a sample manifest with one document, to change it."""
        manifest: Manifest = yaml.safe_load((self.samples / name).read_text())
        return manifest

    def apply(self, *manifests: str | Manifest) -> None:
        """Apply samples, given by name, or manifests that a test has made."""
        for manifest in manifests:
            if isinstance(manifest, str):
                self.control_plane.kubectl("apply", "-f", self.samples / manifest)
            else:
                self.control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    def take_back(self, name: str) -> None:
        """Delete the objects in one file of `deploy/rbac`."""
        self.control_plane.kubectl("delete", "-f", self.samples / "deploy/rbac" / name)

    def patch(self, kind: type[GenericNamespacedResource], name: str, change: Manifest) -> None:
        """Merge a change into an object."""
        self.control_plane.client.patch(kind, name, change, patch_type=PatchType.MERGE)

    def delete(self, kind: type[GenericNamespacedResource], name: str) -> None:
        """Start deleting an object."""
        self.control_plane.client.delete(kind, name)

    def objects(self, kind: type[GenericNamespacedResource]) -> Iterator[Manifest]:
        """Yield all objects of a kind, after checking that the bridge and MCM still run."""
        for process in (self.bridge, self.mcm):
            process.check()
        yield from self.control_plane.client.list(kind, namespace=NAMESPACE)

    def names(self, kind: type[GenericNamespacedResource]) -> set[str]:
        """Return the names of all objects of a kind."""
        return {item["metadata"]["name"] for item in self.objects(kind)}

    def phases(self) -> dict[str, str]:
        """Return the phase of each machine; an empty text if it has none."""
        return {machine["metadata"]["name"]: phase_of(machine) for machine in self.objects(Machine)}

    def status(self, machine: str) -> Manifest:
        """Return a machine's status; nothing if it has none yet."""
        status: Manifest = self.control_plane.client.get(Machine, machine).get("status", {})
        return status

    def vms(self) -> dict[str, str]:
        """Return the state of each VM, and `gone` for a deleted VM that left disks behind.

        The test fails if a machine has two VMs.
        """
        if not self.cloud.path.exists():
            return {}
        inventory = self.cloud.inventory()
        names = [name for name, _, _ in inventory]
        assert len(names) == len({*names}), f"a machine has two VMs: {inventory}"
        return {name: state for name, state, _ in inventory}

    def machine_types(self) -> dict[str, str]:
        """Return the type of each machine's VM in the cloud."""
        servers = opened(self.cloud.path).servers()
        return {server.labels[NAME_LABEL]: server.machine_type for server in servers}

    def revoke(self, token: str) -> None:
        """Make the cloud refuse an API token."""
        opened(self.cloud.path).set_token(token, None)

    def calls(self, operation: str) -> int:
        """Return how many calls of an operation the driver has served, from its metrics."""
        name = "driver_request_duration_seconds_count"
        lines = self.driver.metrics().splitlines()
        counts = [line for line in lines if line.startswith(name) and f'"{operation}"' in line]
        return sum(int(float(line.split()[-1])) for line in counts)

    def bridge_answers(self, path: str) -> str:
        """Return the bridge's response to an HTTP request."""
        return _answer(self.bridge_address, path)

    def mcm_answers(self, path: str) -> str:
        """Return machine-controller-manager's response to an HTTP request."""
        return _answer(self.mcm_address, path)

    def await_listings(self, count: int) -> None:
        """Wait until MCM has looked for orphans a number of times."""
        wanted = self.calls("list_machines") + count
        await_condition(
            lambda: self.calls("list_machines"),
            lambda seen: seen >= wanted,
            f"wanted: {count} more listings",
        )

    def create_behind_mcm(self, name: str, machine_class: Manifest) -> None:
        """Create a VM with the rendered project's client."""
        file = self._folder / "client-machine-class.yaml"
        file.write_text(yaml.safe_dump(machine_class))
        python = str(self.samples.parent / ".venv" / "bin" / "python")
        options = [f"--class={file}", f"--secret={self.samples / 'secret.yaml'}"]
        command = [python, "-m", "cmi", "create", name, *options, f"--endpoint={self.endpoint}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def phase_of(machine: Manifest) -> str:
    """Return the phase of a machine; an empty text if it has none yet."""
    phase: str = machine.get("status", {}).get("currentStatus", {}).get("phase", "")
    return phase


def _answer(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())
