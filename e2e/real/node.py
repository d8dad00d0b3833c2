"""A node: a host on which containerd and a kubelet run."""

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.binaries import NODES
from e2e.process import await_condition
from e2e.real.host import Host, Network
from e2e.real.images import PAUSE_IMAGE, Image
from e2e.real.requirements import CGROUPS, CNI

_CONTAINERD: Final = """
version = 2
# This plugin would create folders in /opt of this machine.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Lowering the score needs a capability that this machine may not have.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""


class Node:
    """A host with containerd, which becomes a node with `join`.

    Args:
        name: The name of the node.
        folder: The folder for that of its files, which has its name.
        network: The network to connect it to.
        client_ca: The CA of the API server's certificate as a client.

    Attributes:
        host: The host on which its processes run.
        kubelet: Its kubelet, once it has joined.
    """

    def __init__(self, name: str, folder: Path, network: Network, client_ca: Path) -> None:
        self.name = name
        self.host = Host(f"{network.name}/{name}", folder / name)
        self._folder = folder / name
        try:
            self.address, pods = network.connect(self.host)
            self._write_configuration(pods, client_ca)
            configuration = f"--config={self._folder / 'containerd.toml'}"
            self.host.start("containerd", "containerd", configuration)
            await_condition(
                lambda: self.host.succeeds("ctr", "version"),
                bool,
                f"containerd should be ready; see {self._folder / 'containerd.log'}",
            )
        except BaseException:
            self.end()
            raise

    def add(self, *images: Image) -> None:
        """Import images, as if the node had pulled them."""
        for image in images:
            self.host.run("ctr", "--namespace=k8s.io", "images", "import", image.archive)

    def tag(self, image: Image, name: str) -> None:
        """Give an imported image another name."""
        self.host.run("ctr", "--namespace=k8s.io", "images", "tag", image.name, name)

    def join(self, *options: str) -> None:
        """Start its kubelet.

        Args:
            options: More of them, such as `--kubeconfig=FILE`.
        """
        self.kubelet = self.host.start(
            "kubelet",
            NODES / "kubelet",
            f"--config={self._folder / 'kubelet.yaml'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            *options,
        )

    def cgroup_of(self, container: str) -> Path:
        """Return the folder of the memory cgroup of a container, given its ID."""
        memory = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
        (found,) = (memory / self.host.cgroup).rglob(container)
        return found

    def end(self) -> None:
        """End it abruptly, as a power cut would."""
        self.host.end()

    def _write_configuration(self, pods: IPv4Network, client_ca: Path) -> None:
        files = {
            "containerd.toml": _CONTAINERD.format(
                pause=PAUSE_IMAGE, plugins=CNI, folder=self._folder
            ),
            "cni/pods.conflist": json.dumps(_pod_network(pods)),
            "kubelet.yaml": yaml.safe_dump(_kubelet(self.host.cgroup, client_ca)),
        }
        for name, text in files.items():
            path = self._folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def _pod_network(pods: IPv4Network) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": str(pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": True}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{**bridge, "hairpinMode": True, "ipam": addresses}],
    }


def _kubelet(cgroup: str, client_ca: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # There is no DNS, but without an address for it, each Pod gets a warning.
        "clusterDNS": ["10.0.0.10"],
        "resolvConf": "/dev/null",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The disk of this machine may be fuller than that of a node.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
    }
