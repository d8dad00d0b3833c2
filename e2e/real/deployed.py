"""MCM, bridge and driver as Pods of a real cluster, and guests on the nodes of their machines."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from lightkube.resources.core_v1 import Pod

from e2e.cluster import PROVIDER, Machine, MachineClass, MachineDeployment, Manifest, phase_of
from e2e.process import PATIENCE, await_condition, await_value, repeatedly
from e2e.real.cluster import (
    ENFORCE,
    FIRST_NODE,
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    RealCluster,
    is_ready,
)
from e2e.real.images import PAUSE_IMAGE
from e2e.real.machines import Machines
from tests.driver import CloudFile

DRIVER_USER: Final = 65532
WORKERS: Final = "acme-workers"
BUDGET: Final = 2
"""How many of the three guests must be ready at any time."""

_OVERLAY: Final = """
resources: [deploy, cloud.yaml]
patches:
  - target: {kind: Deployment, name: machine-controller}
    patch: |
      - op: add
        path: /spec/template/spec/volumes/-
        value: {name: cloud, persistentVolumeClaim: {claimName: cloud}}
      - op: add
        path: /spec/template/spec/containers/1/volumeMounts/-
        value: {name: cloud, mountPath: /cloud}
      - op: add
        path: /spec/template/spec/containers/1/env
        value: [{name: EMBEDDED_CLOUD_FILE, value: /cloud/cloud.sqlite}]
"""
"""Like any other cloud, the embedded cloud outlives the driver's Pod: it is on a volume."""


class Deployed:
    """The rendered `kubernetes/deploy`, with a cloud on a volume, and three guests on machines.

    Args:
        folder: For its files.
        project: The rendered project.
        cluster: The cluster to deploy to.
        processes: Deletes everything at the end.

    Attributes:
        cloud: The driver's cloud.
        machines: The nodes of its VMs.
    """

    def __init__(
        self, folder: Path, project: Path, cluster: RealCluster, processes: ExitStack
    ) -> None:
        self.cluster = cluster
        self._samples = project / "kubernetes"
        self._folder = folder
        shutil.copytree(self._samples / "deploy", folder / "deploy")
        volume = folder / "cloud"
        volume.mkdir()
        shutil.chown(volume, DRIVER_USER, DRIVER_USER)
        self.cloud = CloudFile(volume / "cloud.sqlite")
        (folder / "cloud.yaml").write_text(
            yaml.safe_dump_all(volume_of("cloud", "default", {"local": {"path": str(volume)}}))
        )
        (folder / "kustomization.yaml").write_text(_OVERLAY)
        cluster.control_plane.define(folder / "deploy/crds")
        cluster.kubectl("apply", "-k", folder)
        machines = Machines(PROVIDER, cluster, lambda: self.cloud)
        self.machines = processes.enter_context(machines.followed())
        processes.callback(self._take_back)
        self.await_available()

    def await_available(self) -> None:
        """Wait until the Pods of MCM and of the driver are available."""
        for name in ("machine-controller-manager", "machine-controller"):
            self.cluster.kubectl(
                "rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE:.0f}s"
            )

    # Machines

    def sample(self, name: str) -> Manifest:
        """Return a sample manifest with one document, to change it."""
        manifest: Manifest = yaml.safe_load((self._samples / name).read_text())
        return manifest

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests of a test."""
        self.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def await_workers(self) -> None:
        """Make sure that three machines and three guests run, whatever earlier tests did."""
        if not self.cluster.objects(MachineDeployment):
            secret = self.sample("secret.yaml")
            secret["stringData"]["userData"] = self.cluster.user_data()
            deployment = self.sample("machine-deployment.yaml")
            self.apply(secret, self.sample("machine-class.yaml"), deployment, *_guests())
        self.scale(3)
        self.await_running(3)
        await_value(lambda: len(self.ready_guests()), 3)

    def scale(self, replicas: int) -> None:
        """Scale the machine deployment."""
        self.cluster.kubectl("scale", "machinedeployment", WORKERS, f"--replicas={replicas}")

    def await_running(self, count: int, machine_class: str | None = None) -> set[str]:
        """Wait until exactly so many machines exist and run, and each is a ready node.

        Args:
            count: How many.
            machine_class: Of which class; any if None.

        Returns:
            Their names.
        """

        def state() -> tuple[list[str], set[str], set[str], set[str]]:
            machines = self.cluster.objects(Machine)
            names = {each["metadata"]["name"] for each in machines}
            classes = {each["spec"]["class"]["name"] for each in machines}
            nodes = self.cluster.ready_nodes() - {FIRST_NODE}
            return [*map(phase_of, machines)], names, nodes, classes

        def is_reached(found: tuple[list[str], set[str], set[str], set[str]]) -> bool:
            phases, names, nodes, classes = found
            right_class = machine_class is None or classes <= {machine_class}
            return phases == ["Running"] * count and names == nodes and right_class

        what = f"wanted: {count} running machines, which are ready nodes"
        names = await_condition(state, is_reached, what)[1]
        vms = [name for name, _, _ in self.cloud.inventory()]
        assert sorted(vms) == sorted(names)
        return names

    def roll(self) -> str:
        """Start a rolling update to a new machine class, and return its name."""
        machine_class = self.sample("machine-class.yaml")
        number = len(self.cluster.objects(MachineClass))
        name = machine_class["metadata"]["name"] = f"acme-{number}"
        self.apply(machine_class)
        change = {"spec": {"template": {"spec": {"class": {"name": name}}}}}
        self.patch(change)
        return str(name)

    @contextmanager
    def timeouts(self, **timeouts: str) -> Iterator[None]:
        """Set timeouts of all machines while the context is open. Such a change does not roll."""
        self._set_timeouts(timeouts)
        yield
        self._set_timeouts(dict.fromkeys(timeouts))

    def _set_timeouts(self, timeouts: Mapping[str, str | None]) -> None:
        self.patch({"spec": {"template": {"spec": timeouts}}})
        await_condition(
            lambda: [each["spec"] for each in self.cluster.objects(Machine)],
            lambda specs: all(spec.get(key) == timeouts[key] for spec in specs for key in timeouts),
            f"all machines should have {timeouts}",
        )

    def patch(self, change: Manifest) -> None:
        """Change the machine deployment."""
        options = ("--type=merge", f"--patch={json.dumps(change)}")
        self.cluster.kubectl("patch", "machinedeployment", WORKERS, *options)

    # Guests

    def guests(self, app: str = "guests") -> list[Any]:
        """Return the Pods of guests that are not being deleted."""
        pods = self.cluster.objects(Pod, "guests", {"app": app})
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready_guests(self, app: str = "guests") -> dict[str, str]:
        """Return the nodes of the guests that are ready, by their names."""
        return {
            pod["metadata"]["name"]: pod["spec"]["nodeName"]
            for pod in self.guests(app)
            if is_ready(pod)
        }

    @contextmanager
    def within_budget(self) -> Iterator[None]:
        """Check that there are always as many ready guests as their budget requires."""
        seen: list[int] = []
        with repeatedly(lambda: seen.append(len(self.ready_guests()))):
            yield
        assert seen
        assert min(seen) >= BUDGET, seen

    # Pods of MCM and of the driver

    def pod(self, app: str = "machine-controller") -> Any:
        """Return the Pod of MCM or of the driver."""
        (pod,) = self.cluster.objects(Pod, labels={"app": app})
        return pod

    def container(self, name: str) -> Any:
        """Return the status of a container by its name."""
        app = name if name == "machine-controller-manager" else "machine-controller"
        statuses = self.pod(app)["status"]["containerStatuses"]
        (found,) = (each for each in statuses if each["name"] == name)
        return found

    def cgroup_of(self, container: str) -> Path:
        """Return the folder of a container's memory cgroup."""
        full = self.container(container)["containerID"]
        return self.cluster.first_node.cgroup_of(full.removeprefix("containerd://"))

    def process_of(self, container: str) -> int:
        """Return the ID of the first process of a container."""
        return min(map(int, (self.cgroup_of(container) / "cgroup.procs").read_text().split()))

    def _take_back(self) -> None:
        """Delete the machines and all that was deployed."""
        for what in (
            ("namespace", "guests", "--ignore-not-found"),  # else drains await another node
            ("machinedeployments,machineclasses,secrets", "--all"),
            ("--kustomize", str(self._folder)),
            ("--filename", str(self._folder / "deploy/crds")),
        ):
            self.cluster.kubectl("delete", f"--timeout={PATIENCE:.0f}s", *what)


def volume_of(name: str, namespace: str, source: Manifest) -> list[Manifest]:
    """Return a volume and its claim. A local volume is on the first node."""
    size = {"storage": "1Gi"}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    spec = {
        "capacity": size,
        "claimRef": {"name": name, "namespace": namespace},
        **common,
        **source,
    }
    if "local" in source:
        key = "node-role.kubernetes.io/control-plane"
        terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    claim = {"resources": {"requests": size}, "volumeName": name, **common}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": spec,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": claim,
        },
    ]


def workload(kind: str, app: str, **spec: Any) -> Manifest:
    """Return a Deployment or DaemonSet of guests, which run on machines and only wait."""
    volumes = spec.pop("volumes", [])
    container: Manifest = {
        "name": "guest",
        "image": PAUSE_IMAGE,
        "args": spec.pop("args", []),
        "volumeMounts": [{"name": each["name"], "mountPath": "/data"} for each in volumes],
        "securityContext": RESTRICTED_CONTAINER,
    }
    pod = {
        "nodeSelector": {"worker-pool": WORKERS},
        "securityContext": RESTRICTED_POD,
        "containers": [container],
        "volumes": volumes,
        "affinity": spec.pop("affinity", {}),
        "terminationGracePeriodSeconds": 5,
    }
    labels = {"app": app}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": app, "namespace": "guests"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            **spec,
        },
    }


def _guests() -> list[Manifest]:
    """Return three guests on different nodes, their budget, and a DaemonSet."""
    labels = {"matchLabels": {"app": "guests"}}
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": labels}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "guests", "labels": {ENFORCE: "restricted"}},
        },
        workload("Deployment", "guests", replicas=3, affinity=affinity),
        workload("DaemonSet", "agents"),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "guests", "namespace": "guests"},
            "spec": {"minAvailable": BUDGET, "selector": labels},
        },
    ]
