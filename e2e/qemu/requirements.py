"""What hosts with libvirt need of this machine, beyond what a cluster with nodes needs."""

from pathlib import Path
from sysconfig import get_path
from typing import Final

from e2e.real import requirements

_DAEMON: Final = "libvirt-daemon-system"
_PACKAGES: Final = {
    "cpio": "cpio",
    "dnsmasq": "dnsmasq-base",
    "gcc": "gcc",
    "libvirtd": _DAEMON,
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "pkg-config": "pkg-config",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "saslpasswd2": "sasl2-bin",
    "sfdisk": "fdisk",
    "syslinux": "syslinux",
    "virsh": "libvirt-clients",
    "/usr/include/libvirt/libvirt.h": "libvirt-dev",
    "/usr/include/stdio.h": "libc6-dev",
    f"{get_path('include')}/Python.h": "python3-dev",
    "/usr/lib/syslinux/mbr/mbr.bin": "syslinux-common",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
}
"""Debian's packages by a program or another file of theirs."""


def missing() -> list[str]:
    """Return the packages that are not installed yet."""
    return requirements.missing() + requirements.missing(_PACKAGES)


def install() -> str:
    """Install the packages that are missing.

    Returns:
        The reason in one line if that failed; nothing otherwise.
    """
    packages = missing()
    if _DAEMON in packages and Path("/run/systemd/system").is_dir():
        return f"install {_DAEMON} first, which starts libvirtd on this machine"
    return requirements.install(packages, "for hosts with libvirt")
