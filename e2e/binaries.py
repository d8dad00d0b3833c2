"""The programs that the tests run. `python -m e2e.binaries` builds those that are missing.

The bridge and MCM come from `bridge/`. Kubernetes, etcd, promtool, actionlint and kube-router are
built from their Go modules, at the versions in the `go.mod` of the folders here, into a cache
outside of the checkout.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support import ROOT, check_out, last_release

BRIDGE: Final = ROOT / "bridge" / "bin"
"""The bridge, machine-controller-manager, and its custom resource definitions in `crds`."""

_KUBERNETES: Final = ROOT / "e2e" / "kubernetes"
_KUBE_ROUTER: Final = ROOT / "e2e" / "kuberouter"
_PROMETHEUS: Final = ROOT / "e2e" / "prometheus"
_ACTIONLINT: Final = ROOT / "e2e" / "actionlint"


def _version(module: Path, of: str) -> str:
    required = re.search(rf"{of} (v\S+)", (module / "go.mod").read_text())
    assert required, f"{module.name}/go.mod does not require {of}"
    return required[1]


CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mcm-provider-template"
)
"""All checkouts share the programs that take minutes to build."""


def _kept(name: str, module: Path, of: str) -> Path:
    """Return a folder that depends on a module's locked versions."""
    locked = b"".join((module / file).read_bytes() for file in ("go.mod", "go.sum"))
    digest = sha256(locked).hexdigest()[:8]
    return CACHE / f"{name}-{_version(module, of)}-{digest}"


KUBERNETES: Final = _kept("kubernetes", _KUBERNETES, "k8s.io/kubernetes")
"""etcd, kube-apiserver and kubectl."""

NODES: Final = _kept("nodes", _KUBERNETES, "k8s.io/kubernetes")
"""The programs that a cluster with nodes needs in addition, from kubelet to scheduler."""

KUBE_ROUTER: Final = _kept("kube-router", _KUBE_ROUTER, "github.com/cloudnativelabs/kube-router/v2")
"""kube-router, which enforces network policies."""

PROMETHEUS: Final = _kept("prometheus", _PROMETHEUS, "github.com/prometheus/prometheus")
"""promtool."""

ACTIONLINT: Final = _kept("actionlint", _ACTIONLINT, "github.com/rhysd/actionlint")
"""actionlint."""

_PROGRAMS: Final = {
    KUBERNETES: (
        _KUBERNETES,
        {
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        },
    ),
    NODES: (
        _KUBERNETES,
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")
        },
    ),
    KUBE_ROUTER: (
        _KUBE_ROUTER,
        {"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
    ),
    PROMETHEUS: (_PROMETHEUS, {"promtool": "github.com/prometheus/prometheus/cmd/promtool"}),
    ACTIONLINT: (_ACTIONLINT, {"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"}),
}
"""The cached programs: the module that locks their versions, and their packages."""

LAST_BRIDGE: Final = ROOT / "build" / "last-bridge"
"""The bridge of the last release, as a folder like `BRIDGE`."""

MANIFESTS: Final = ROOT / "build" / "manifests"
"""The program that reads manifests with kubectl's code, from `e2e/kubernetes/manifests`."""

PAUSE: Final = ROOT / "build" / "pause"
"""A program that waits until it is stopped, from `e2e/kubernetes/pause`."""


def mcm_source() -> Path:
    """Return the source of machine-controller-manager that the bridge is built from."""
    module = "github.com/gardener/machine-controller-manager"
    command = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    folder = BRIDGE.parent
    return Path(subprocess.check_output(command, cwd=folder, text=True).strip())


def main() -> None:
    """Build the missing programs."""
    if shutil.which("go") is None:
        sys.exit("error: go is not installed; install Go 1.26.2 or newer")
    try:
        for kept in (KUBERNETES, PROMETHEUS, ACTIONLINT):
            build(kept)
        _build(_KUBERNETES, "./manifests", MANIFESTS)
        subprocess.run(["make", "--no-print-directory", "build"], cwd=BRIDGE.parent, check=True)
        _build_last_bridge()
    except subprocess.CalledProcessError as error:
        sys.exit(failed(error))


def failed(error: subprocess.CalledProcessError) -> str:
    """Return in one line which command has failed."""
    return f"error: {' '.join(map(str, error.cmd))} failed; see above"


@contextmanager
def cache_lock(name: str = "lock") -> Iterator[None]:
    """Prevent other checkouts from adding the same to the cache at the same time.

    Another name is for something else that only one of them may do.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(kept: Path) -> None:
    """Build the programs of one folder of the cache, unless it exists."""
    if kept.exists():
        return
    with cache_lock():
        if not kept.exists():
            _build_all_of(kept)


def build_pause() -> None:
    """Build the program for Pods that only wait."""
    _build(_KUBERNETES, "./pause", PAUSE)


def _build_all_of(kept: Path) -> None:
    module, programs = _PROGRAMS[kept]
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        unfinished = Path(scratch) / "result"
        unfinished.mkdir()
        for name, package in programs.items():
            print(f"Building {name}; the first time takes minutes", flush=True)
            start = time.monotonic()
            _build(module, package, unfinished / name)
            print(f"Built {name} in {time.monotonic() - start:.0f} s", flush=True)
        unfinished.rename(kept)


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


def _build(module: Path, package: str, program: Path) -> None:
    # MCM does not start if the API server does not know its own version.
    version = _version(_KUBERNETES, "k8s.io/kubernetes")
    flags = f"-ldflags=-s -X k8s.io/component-base/version.gitVersion={version}"
    subprocess.run(
        ["go", "build", "-trimpath", flags, "-o", program, package],
        cwd=module,
        env=os.environ | {"CGO_ENABLED": "0"},
        check=True,
    )


if __name__ == "__main__":
    main()
