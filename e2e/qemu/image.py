"""The disk that VMs start from: a bootable file of Debian packages, with a kubelet.

It boots within seconds even without KVM. Instead of systemd and cloud-init, `init.sh` reads the
seed and runs the user data.
"""

import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from e2e.binaries import CACHE, NODES, cache_lock
from e2e.real import images

_HERE: Final = Path(__file__).parent
_MIB: Final = 2**20
_PACKAGES: Final = (
    *("base-files", "busybox-static", "dash", "mount", "util-linux"),
    *("kmod", "liblzma5"),  # which kmod loads to read the modules
    *("iproute2", "iptables", "containerd", "runc", "containernetworking-plugins"),
    "linux-image-cloud-amd64",
)
_RECIPE: Final = [
    "mmdebstrap",
    "--quiet",
    # No package is configured, since that takes minutes, and nothing here needs it.
    "--variant=extract",
    f"--include={','.join(_PACKAGES)}",
    images.SUITE,
]
_MODULES: Final = ("virtio_pci", "virtio_blk", "ext4")
"""The ones to read the root disk; the kernel may have some of them built in."""

_SCRIPTS: Final = ("initrd.sh", "init.sh", "udhcpc.sh")
_COMMANDS: Final = ("iptables", "iptables-save", "iptables-restore", "ip6tables")
"""Debian links them when it configures the package."""

_DHCP: Final = "etc/udhcpc.sh"
_POWER_BUTTON: Final = "etc/acpi/PWRF/00000080"
"""What busybox's acpid runs when somebody presses it."""

_BOOT_MENU: Final = """\
default linux
label linux
  kernel vmlinuz
  append initrd=initrd console=ttyS0 quiet no_timer_check lpj=4000000
"""
"""With the last two options, the kernel skips measurements that may not end on a busy machine."""

_BOOT_START, _BOOT_MIB, _ROOT_MIB = 1, 63, 1472
"""The first partition with the kernel, in MiB, and the second one after it."""

_PARTITIONS: Final = f"""\
label: dos
start={_BOOT_START}MiB, size={_BOOT_MIB}MiB, type=c, bootable
start={_BOOT_START + _BOOT_MIB}MiB, size={_ROOT_MIB}MiB, type=83
"""

SIZE_GIB: Final = 2
"""What a disk that starts from it needs at least."""


def image() -> Path:
    """Return the path of the image, whether it exists or not."""
    sources = [Path(__file__), *(_HERE / name for name in _SCRIPTS)]
    parts = [repr(_RECIPE), NODES.name, images.pause().archive.name]
    parts += [source.read_text() for source in sources]
    digest = sha256("\n".join(parts).encode()).hexdigest()[:8]
    return CACHE / f"guest-{digest}.qcow2"


def make() -> None:
    """Make the image if it does not exist yet."""
    with cache_lock(), tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        place = image()
        if place.exists():
            return
        print("Making the disk of a VM from Debian packages; that takes minutes", flush=True)
        root = Path(scratch) / "root"
        subprocess.run([*_RECIPE, str(root), *images.mirrors()], check=True)
        _fill(root)
        disk = _disk(Path(scratch), root)
        unfinished = Path(scratch) / place.name
        _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, unfinished)
        unfinished.rename(place)


def _fill(root: Path) -> None:
    """Add what is not in a package to the files of the root disk."""
    (root / _POWER_BUTTON).parent.mkdir(parents=True)
    (root / _POWER_BUTTON).write_text("#!/bin/sh\npoweroff -f\n")
    shutil.copy(_HERE / "init.sh", root / "init")
    shutil.copy(_HERE / "udhcpc.sh", root / _DHCP)
    for script in ("init", _DHCP, _POWER_BUTTON):
        (root / script).chmod(0o755)
    for folder in ("usr/local/bin", "var/log"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for command in _COMMANDS:
        (root / "usr/sbin" / command).symlink_to("xtables-nft-multi")
    _run("chroot", root, "/usr/bin/busybox", "--install", "-s", "/usr/local/bin")
    _run("chroot", root, "/usr/sbin/depmod", _kernel(root))
    shutil.copy(NODES / "kubelet", root / "usr/bin")
    shutil.copy(images.pause().archive, root / "pause.tar")
    for unused in ("doc", "man", "locale"):
        shutil.rmtree(root / "usr/share" / unused, ignore_errors=True)


def _disk(folder: Path, root: Path) -> Path:
    """Return a disk with two partitions: one to boot from, and the root disk."""
    second, first = folder / "root.img", folder / "boot.img"
    files = ("-d", root, "-O", "^has_journal", second, f"{_ROOT_MIB}M")
    _run("mke2fs", "-q", "-t", "ext4", *files)
    _write_boot_disk(folder, root, first)
    disk = folder / "disk.img"
    with disk.open("wb") as whole:
        whole.write(Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes())
        whole.truncate((_BOOT_START + _BOOT_MIB + _ROOT_MIB + 1) * _MIB)
    command = ["sfdisk", "--quiet", str(disk)]
    subprocess.run(command, input=_PARTITIONS.encode(), stdout=subprocess.DEVNULL, check=True)
    for part, start in ((first, _BOOT_START), (second, _BOOT_START + _BOOT_MIB)):
        place = (f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")
        _run("dd", f"if={part}", *place)
    return disk


def _write_boot_disk(folder: Path, root: Path, disk: Path) -> None:
    menu = folder / "syslinux.cfg"
    menu.write_text(_BOOT_MENU)
    initrd = _initrd(folder, root)
    kernel = root / "boot" / f"vmlinuz-{_kernel(root)}"
    hidden = str(_BOOT_START * _MIB // 512)  # where the loader finds its own partition
    _run("mkfs.vfat", "-C", "-h", hidden, disk, str(_BOOT_MIB * 1024))
    _run("mcopy", "-i", disk, kernel, "::vmlinuz")
    _run("mcopy", "-i", disk, menu, initrd, "::")
    _run("syslinux", "--install", disk)


def _initrd(folder: Path, root: Path) -> Path:
    """Return an archive that the kernel starts from: busybox, a script, and modules."""
    files = folder / "initrd.files"
    (files / "modules").mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", files)
    shutil.copy(_HERE / "initrd.sh", files / "init")
    (files / "init").chmod(0o755)
    for number, module in enumerate(_modules(root)):
        shutil.copy(module, files / "modules" / f"{number:02}-{module.name}")
    names = "\n".join(str(path.relative_to(files)) for path in sorted(files.rglob("*")))
    archive = folder / "initrd"
    with archive.open("wb") as output:
        subprocess.run(
            ["cpio", "--quiet", "--create", "--format=newc"],
            input=names.encode(),
            stdout=output,
            cwd=files,
            check=True,
        )
    return archive


def _modules(root: Path) -> list[Path]:
    """Return the files of the modules to load, each after those that it needs."""
    found: dict[Path, None] = {}
    for name in _MODULES:
        options = (f"--set-version={_kernel(root)}", "--show-depends")
        command = ["chroot", str(root), "/usr/sbin/modprobe", *options, name]
        for line in subprocess.check_output(command, text=True).splitlines():
            action, _, path = line.partition(" ")
            if action == "insmod":
                found[root / path.strip().lstrip("/")] = None
    return [*found]


def _kernel(root: Path) -> str:
    """Return the version of the kernel."""
    (folder,) = (root / "usr/lib/modules").iterdir()
    return folder.name


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, check=True)
