"""The programs that the tests run. `python -m e2e.binaries` builds those that are missing.

The bridge and MCM come from `bridge/`. etcd, kube-apiserver and kubectl are built from their Go
modules, at the versions in `kubernetes/go.mod`, into a cache outside of the checkout.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support import ROOT, check_out, last_release

BRIDGE: Final = ROOT / "bridge" / "bin"
"""The bridge, machine-controller-manager, and its custom resource definitions in `crds`."""

_MODULE: Final = ROOT / "e2e" / "kubernetes"
_PROGRAMS: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}


def _version() -> str:
    required = re.search(r"k8s.io/kubernetes (v\S+)", (_MODULE / "go.mod").read_text())
    assert required, "e2e/kubernetes/go.mod does not require k8s.io/kubernetes"
    return required[1]


def _cache() -> Path:
    """Return a folder of its own for each state of the locked versions."""
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    locked = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    digest = sha256(locked).hexdigest()[:8]
    return home / "mcm-provider-template" / f"kubernetes-{_version()}-{digest}"


KUBERNETES: Final = _cache()
"""etcd, kube-apiserver and kubectl."""

LAST_BRIDGE: Final = ROOT / "build" / "last-bridge"
"""The bridge of the last release, as a folder like `BRIDGE`."""

MANIFESTS: Final = ROOT / "build" / "manifests"
"""What reads manifests with kubectl's code, from `e2e/kubernetes/manifests`."""


def mcm_source() -> Path:
    """Return the source of machine-controller-manager that the bridge is built from."""
    module = "github.com/gardener/machine-controller-manager"
    command = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    folder = BRIDGE.parent
    return Path(subprocess.check_output(command, cwd=folder, text=True).strip())


def main() -> None:
    """Build all that is missing."""
    if shutil.which("go") is None:
        sys.exit("error: go is not there; install Go 1.26.2 or newer")
    try:
        KUBERNETES.parent.mkdir(parents=True, exist_ok=True)
        with (KUBERNETES.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be building the same
            if not KUBERNETES.exists():
                _build_kubernetes()
        _build("./manifests", MANIFESTS)
        subprocess.run(["make", "--no-print-directory", "build"], cwd=BRIDGE.parent, check=True)
        _build_last_bridge()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(error.cmd)} failed; see above")


def _build_kubernetes() -> None:
    with tempfile.TemporaryDirectory(dir=KUBERNETES.parent) as scratch:
        unfinished = Path(scratch) / "result"
        unfinished.mkdir()
        for name, package in _PROGRAMS.items():
            print(f"Building {name}; the first time takes minutes", flush=True)
            start = time.monotonic()
            _build(package, unfinished / name)
            print(f"Built {name} in {time.monotonic() - start:.0f} s", flush=True)
        unfinished.rename(KUBERNETES)


def _build_last_bridge() -> None:
    program = LAST_BRIDGE / "machine-controller"
    with tempfile.TemporaryDirectory() as scratch:
        source = check_out(last_release(), Path(scratch) / "source")
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags=-s", "-o", program, "./cmd/machine-controller"],
            cwd=source / "bridge",
            env=os.environ | {"CGO_ENABLED": "0"},
            check=True,
        )


def _build(package: str, program: Path) -> None:
    # MCM does not start with an API server that does not know its own version.
    version = f"-X k8s.io/component-base/version.gitVersion={_version()}"
    subprocess.run(
        ["go", "build", "-trimpath", f"-ldflags=-s {version}", "-o", program, package],
        cwd=_MODULE,
        env=os.environ | {"CGO_ENABLED": "0"},
        check=True,
    )


if __name__ == "__main__":
    main()
