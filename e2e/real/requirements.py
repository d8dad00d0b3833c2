"""What a real cluster needs of this machine."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CNI: Final = Path("/usr/lib/cni")
CGROUPS: Final = Path("/sys/fs/cgroup")

_PACKAGES: Final = {
    "buildah": "buildah",
    "containerd": "containerd",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "runc": "runc",
    str(CNI / "bridge"): "containernetworking-plugins",
}
"""Debian's packages by a program of theirs."""

NEW_NAMESPACES: Final = (
    *("unshare", "--net", "--mount", "--mount-proc"),
    *("--pid", "--fork", "--kill-child"),
)
"""Runs a command in namespaces of its own, which end with it."""


def unmet() -> str:
    """Return in one line what makes a real cluster impossible here; nothing if it is possible."""
    if os.geteuid() != 0:
        return "they need root"
    if shutil.which("apt-get") is None or shutil.which("unshare") is None:
        return "they need packages of Debian"
    if not _succeeds([*NEW_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/run"]):
        return "the kernel does not allow namespaces"
    if not os.access(CGROUPS, os.W_OK) or not [*CGROUPS.rglob("cgroup.procs")]:
        return f"{CGROUPS} is not writable"
    return ""


def missing(packages: Mapping[str, str] = _PACKAGES) -> list[str]:
    """Return the packages that are not installed yet.

    Args:
        packages: All that are needed, by a program or another file of theirs.
    """
    return [
        package
        for file, package in packages.items()
        if shutil.which(file) is None and not Path(file).is_file()
    ]


def install(packages: Sequence[str], purpose: str = "for a cluster with nodes") -> str:
    """Install packages.

    Returns:
        The reason in one line if that failed; nothing otherwise.
    """
    if not packages:
        return ""
    print(f"Installing {', '.join(packages)}, {purpose}", flush=True)
    quietly = ["apt-get", "--quiet=2", "--option=Dpkg::Use-Pty=0"]
    command = [*quietly, "install", "--yes", "--no-install-recommends", *packages]
    if _succeeds(command) or (_succeeds([*quietly, "update"]) and _succeeds(command)):
        return ""
    return f"{' '.join(command)} failed"


def _succeeds(command: list[str]) -> bool:
    result = subprocess.run(
        command,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return result.returncode == 0
