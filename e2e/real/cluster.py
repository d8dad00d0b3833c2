"""A cluster with real nodes."""

import os
import socket
import subprocess
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from lightkube.resources.core_v1 import Node as NodeObject

from e2e.binaries import KUBE_ROUTER, KUBERNETES, NODES
from e2e.cluster import Manifest
from e2e.control_plane import SERVICES, ControlPlane
from e2e.process import Process, await_condition
from e2e.real.host import Network
from e2e.real.images import Images
from e2e.real.node import Node
from tests.certificates import Authority, pem

FIRST_NODE: Final = "control-plane"
"""The node for MCM and the driver, which MCM does not manage."""

ENFORCE: Final = "pod-security.kubernetes.io/enforce"
"""The label of a namespace that limits what its Pods may do."""

RESTRICTED_POD: Final = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""The security contexts that a namespace with the level `restricted` demands."""

CONTROLLERS: Final = {
    "kube-controller-manager": "system:kube-controller-manager",
    "kube-scheduler": "system:kube-scheduler",
    "kube-proxy": "system:kube-proxy",
}
_NETWORK_POLICIES: Final = "kube-router"
"""The user that enforces them."""

_USERS: Final = {
    **dict.fromkeys([*CONTROLLERS.values(), _NETWORK_POLICIES], "system:authenticated"),
    f"system:node:{FIRST_NODE}": "system:nodes",
}

ROLES: Final = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kubelets-are-called}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: apiserver}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes-may-ask}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-bootstrapper"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:bootstrappers"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes-are-approved}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:certificates.k8s.io:certificatesigningrequests:nodeclient
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:bootstrappers"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kube-router}
rules:
  - apiGroups: [""]
    resources: [namespaces, pods, services, nodes, endpoints]
    verbs: [get, list, watch]
  - {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-router}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kube-router}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kube-router}]
"""
"""The API server may call kubelets. Anyone with a bootstrap token gets a node's certificate."""


class RealCluster:
    """A control plane and its first node, on which the Pods of MCM and of the driver run.

    Args:
        folder: For files and logs.
        images: The images to import on that node.
        processes: Ends all that is started.

    Attributes:
        control_plane: The API server.
        network: The network of the nodes.
        first_node: The node that MCM does not manage.
    """

    def __init__(self, folder: Path, images: Images, processes: ExitStack) -> None:
        self._folder = folder
        self._processes = processes
        self.images = images
        self.network = Network(folder, processes)
        self._namespaces = dict(self.network.namespaces)
        options = self._write_certificates()
        self.control_plane = ControlPlane(
            folder,
            processes,
            definitions=False,
            address=self.network.address,
            port=_unused_port(self.network.address),
            options=options,
            users=_USERS,
        )
        self.control_plane.kubectl("apply", "-f", "-", stdin=ROLES)
        self._start_controllers()
        self.first_node = self.new_node(FIRST_NODE)
        processes.callback(self.first_node.end)
        self._start_first_node()

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as the administrator, and return what it prints."""
        return self.control_plane.kubectl(*arguments, stdin=stdin)

    def objects(
        self, kind: Any, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return all objects of a kind that have these labels, as manifests have them.

        They are those of the namespace `default` if none is given.
        """
        wanted: Any = labels  # a dict of strings is not one of strings and more, for mypy
        found: Any = self.control_plane.client.list(kind, namespace=namespace, labels=wanted)
        return [each.to_dict() for each in found]

    def object(self, kind: Any, name: str, namespace: str | None = None) -> Manifest:
        """Return an object, as manifests have it.

        It is that of the namespace `default` if none is given.
        """
        found: Any = self.control_plane.client.get(kind, name, namespace=namespace)
        manifest: Manifest = found.to_dict()
        return manifest

    def new_node(self, name: str) -> Node:
        """Start a node that has the image of sandboxes, but has not joined yet."""
        node = Node(name, self._folder, self.network, self._client_ca)
        self._namespaces |= node.host.namespaces
        node.add(self.images.pause)
        return node

    def user_data(self) -> str:
        """Return user data for VMs: the kubeconfig with which a kubelet joins by TLS bootstrap."""
        return self.control_plane.config_of_user("<<MACHINE_NAME>>", "<<BOOTSTRAP_TOKEN>>")

    def environment(self) -> dict[str, str]:
        """Return the variables with which a shell finds kubectl, and kubectl this cluster."""
        return {
            "KUBECONFIG": str(self.control_plane.kubeconfig),
            "PATH": f"{KUBERNETES}:{os.environ['PATH']}",
        }

    def report(self) -> str:
        """Return its objects, events and logs, for the report of a failed test."""
        shown = [
            self._show("get", "nodes,pods", "--all-namespaces", "--output=wide"),
            self._show("get", "machinedeployments,machines", "--output=wide"),
            self._show("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
            *(
                self._show("logs", f"deployment/{name}", "--all-containers", "--tail=30")
                for name in ("machine-controller", "machine-controller-manager")
            ),
        ]
        return "\n\n".join(shown)

    def leftovers(self) -> list[str]:
        """Return what is left of it on this machine after its end."""
        return leftovers_of(self.network, self._namespaces, self._folder)

    def _show(self, *arguments: str) -> str:
        try:
            lines = self.kubectl(*arguments).splitlines()
        except AssertionError as error:
            lines = [str(error)]
        return "\n".join([" ".join(arguments), *lines[-60:]])

    def _write_certificates(self) -> list[str]:
        """Write the CA for nodes; return the options with which the API server uses it."""
        authority = Authority("nodes")
        files = authority.issue(self._folder / "apiserver", x509.DNSName("apiserver"))
        self._client_ca = files.ca
        self._client_key = self._folder / "nodes.key"
        self._client_key.write_bytes(pem(authority.key))
        return [
            f"--client-ca-file={files.ca}",
            f"--kubelet-client-certificate={files.certificate}",
            f"--kubelet-client-key={files.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-bootstrap-token-auth",
        ]

    def _start_controllers(self) -> None:
        plane = self.control_plane
        signing = {
            "cluster-signing-cert-file": self._client_ca,
            "cluster-signing-key-file": self._client_key,
            "root-ca-file": plane.certificate,
            "service-account-private-key-file": plane.signing_key,
        }
        options = [f"--{name}={path}" for name, path in signing.items()]
        self._start_controller(
            "kube-controller-manager",
            *options,
            "--use-service-account-credentials",
            "--controllers=*,bootstrapsigner,tokencleaner",
        )
        self._start_controller("kube-scheduler")

    def _start_controller(self, name: str, *options: str) -> None:
        controller = start_controller(self.control_plane, self._folder, name, *options)
        self._processes.enter_context(controller)

    def _start_first_node(self) -> None:
        plane, node = self.control_plane, self.first_node
        node.add(self.images.machine_controller_manager, self.images.bridge, self.images.driver)
        kubeconfig = plane.kubeconfig_of_user(f"system:node:{FIRST_NODE}")
        node.join(
            f"--kubeconfig={kubeconfig}",
            "--register-with-taints=node-role.kubernetes.io/control-plane:NoSchedule",
        )
        await_condition(self.ready_nodes, bool, f"{FIRST_NODE} should be ready")
        # Neither of these waits long for the node to be registered.
        node.host.start(
            "kube-proxy",
            NODES / "kube-proxy",
            f"--kubeconfig={plane.kubeconfig_of_user(CONTROLLERS['kube-proxy'])}",
            f"--hostname-override={FIRST_NODE}",
            "--proxy-mode=iptables",
            # These settings belong to the whole machine.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )
        # kube-router writes back all rules that it has read, so it would undo the first ones of
        # kube-proxy if both began at once.
        api = str(next(ip_network(SERVICES).hosts()))
        await_condition(
            lambda: api in node.host.run("iptables-save", "--table", "nat"),
            bool,
            f"kube-proxy should lead {api} to the API server",
        )
        node.host.start(
            "kube-router",
            KUBE_ROUTER / "kube-router",
            f"--kubeconfig={plane.kubeconfig_of_user(_NETWORK_POLICIES)}",
            f"--hostname-override={FIRST_NODE}",
            f"--service-cluster-ip-range={SERVICES}",
            "--run-firewall",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            "--health-port=0",
            "--metrics-port=0",
        )
        self.kubectl("label", "node", FIRST_NODE, "node-role.kubernetes.io/control-plane=")
        self.kubectl("label", "namespace", "default", f"{ENFORCE}=restricted")

    def ready_nodes(self) -> set[str]:
        """Return the names of the nodes that are ready."""
        return {node["metadata"]["name"] for node in self.objects(NodeObject) if is_ready(node)}


def start_controller(plane: ControlPlane, folder: Path, name: str, *options: str) -> Process:
    """Start one of the programs of a control plane that call the API server; return its process.

    Args:
        plane: The control plane.
        folder: For its log.
        name: The name of the program.
        options: More of its options.
    """
    kubeconfig = plane.kubeconfig_of_user(CONTROLLERS[name])
    common = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]
    command: list[str | Path] = [NODES / name, *common, *options]
    return Process(command, folder / f"{name}.log")


def _unused_port(address: str) -> int:
    """Return one of the ports of API servers that the rendered network policies allow."""
    for port in (6443, 443):
        with suppress(OSError), socket.create_server((address, port)):
            return port
    raise AssertionError(f"ports 443 and 6443 of {address} are in use")


def is_ready(manifest: Manifest) -> bool:
    """Return whether a node or a Pod has the condition Ready."""
    return any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in manifest["status"].get("conditions", [])
    )


def leftovers_of(network: Network, namespaces: Collection[str], folder: Path) -> list[str]:
    """Return what is left of a network, and of hosts, on this machine after their end.

    Args:
        network: The network.
        namespaces: Those of the hosts.
        folder: That of their files.
    """
    return [
        *_processes_in(namespaces),
        *_lines_with(network.name, ["ip", "link"]),
        *_lines_with(str(folder), ["cat", "/proc/self/mountinfo"]),
        *map(str, Path("/sys/fs/cgroup").rglob(network.name)),
    ]


def _processes_in(namespaces: Collection[str]) -> list[str]:
    """Return the processes that are in one of these namespaces."""
    found = []
    for kind in ("mnt", "pid"):
        for link in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
            try:
                if str(link.readlink()) in namespaces:
                    found.append(f"{link}: {(link.parents[1] / 'cmdline').read_text()}")
            except OSError:  # it ends just now
                continue
    return found


def _lines_with(text: str, command: list[str]) -> list[str]:
    output = subprocess.check_output(command, text=True)
    return [line for line in output.splitlines() if text in line]
