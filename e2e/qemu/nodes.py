"""A control plane that VMs join as nodes, with the bootstrap token in their user data."""

import json
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from e2e.control_plane import NO_CONTROLLERS, ControlPlane
from e2e.real.cluster import CONTROLLERS, ROLES, start_controller
from e2e.real.images import PAUSE_IMAGE
from tests.certificates import Authority, pem

_MANAGER: Final = "kube-controller-manager"
_JOIN: Final = (Path(__file__).parent / "join.sh").read_text()


def joinable(folder: Path, processes: ExitStack, address: str) -> ControlPlane:
    """Start a control plane that signs the certificates of nodes; no other controller runs.

    Args:
        folder: For its files and logs.
        processes: Ends it.
        address: Where the API server listens.
    """
    authority = Authority("nodes")
    ca, key = folder / "nodes.crt", folder / "nodes.key"
    ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(pem(authority.key))
    plane = ControlPlane(
        folder,
        processes,
        address=address,
        options=(NO_CONTROLLERS, f"--client-ca-file={ca}", "--enable-bootstrap-token-auth"),
        users={CONTROLLERS[_MANAGER]: "system:authenticated"},
    )
    plane.kubectl("apply", "-f", "-", stdin=ROLES)
    signers = (
        "--controllers=csrapproving,csrsigning",
        "--use-service-account-credentials",
        f"--cluster-signing-cert-file={ca}",
        f"--cluster-signing-key-file={key}",
    )
    processes.enter_context(start_controller(plane, folder, _MANAGER, *signers))
    return plane


def user_data(plane: ControlPlane, host: str) -> str:
    """Return user data with which a VM joins; MCM puts the bootstrap token into it.

    Args:
        plane: What to join.
        host: The host of the VM, as the machine class names it.
    """
    config = json.loads(plane.config_of_user("kubelet", "<<BOOTSTRAP_TOKEN>>"))
    (cluster,) = config["clusters"]
    del cluster["cluster"]["certificate-authority"]
    certificate = b64encode(plane.certificate.read_bytes()).decode()
    cluster["cluster"]["certificate-authority-data"] = certificate
    filled_in = {"PAUSE": PAUSE_IMAGE, "KUBECONFIG": json.dumps(config), "HOST": host}
    script = _JOIN
    for name, text in filled_in.items():
        script = script.replace(f"@{name}@", text)
    return script
