"""What hosts with libvirt need of this machine, beyond what a cluster with nodes needs."""

from typing import Final

from e2e.real import requirements

_PACKAGES: Final = {
    "cpio": "cpio",
    "dnsmasq": "dnsmasq-base",
    "gcc": "gcc",
    "libvirtd": "libvirt-daemon-system",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "pkg-config": "pkg-config",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "saslpasswd2": "sasl2-bin",
    "syslinux": "syslinux",
    "virsh": "libvirt-clients",
    "/usr/include/libvirt/libvirt.h": "libvirt-dev",
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
    return requirements.install(missing(), "for hosts with libvirt")
