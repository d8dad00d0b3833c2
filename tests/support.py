"""Helpers for several test files: copies of this repository, git, make, parts of gRPC."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
import yaml
from grpc_health.v1 import health_pb2_grpc

from scripts import release

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template"
SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = {name for name in SETTINGS if not name.startswith("_")}
DELIMITERS = {key: text for key, text in SETTINGS["_envops"].items() if key.endswith("_string")}
SUFFIX = SETTINGS["_templates_suffix"]
COPIER = [sys.executable, "-m", "copier"]
ANSWERS = {"provider_name": "acme", "github_org": "gardener"}
"""The questions without a default, as most tests answer them."""
DATA = [f"--data={name}={value}" for name, value in ANSWERS.items()]
"""The same for a command line."""

UNRELEASED = "HEAD"
"""What is committed stands for the last release as long as there is none."""

PATIENCE = 120.0
"""Seconds after which a test stops waiting, however busy the machine is."""


def link(source: Path, folder: Path, *left_out: str) -> None:
    """Let a folder have what `source` has, by symbolic links, but for what is left out.

    Environments get a stamp of their own, so that `make` takes them for made there, and never
    makes the original again through a link.
    """
    for path in source.iterdir():
        target = folder / path.name
        if path.name in left_out:
            continue
        if path.name == "build" and path.is_dir():
            target.mkdir()
            link(path, target)
        elif (path / "pyvenv.cfg").exists():
            target.mkdir()
            link(path, target, ".stamp")
            (target / ".stamp").write_text(f"{target.resolve()}\n")
        else:
            target.symlink_to(path)


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return its output."""
    return subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def releases() -> list[str]:
    """Return the tags of all releases, the newest last."""
    return [*map(str, release.releases(ROOT))]


def last_release() -> str:
    """Return the tag of the newest release."""
    return [UNRELEASED, *releases()][-1]


def check_out(revision: str, folder: Path) -> Path:
    """Fill a folder with the contents of this repository at a revision."""
    git(folder.parent, "clone", "--quiet", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "--detach", revision)
    return folder


def commit(folder: Path, *, tag: str | None = None) -> None:
    """Commit everything in a folder."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "state")
    if tag:
        git(folder, "tag", tag)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder that git tracks or would."""
    names = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [folder / name for name in names.split("\0") if name]


def copy_repository(target: Path, *, template: bool) -> Path:
    """Copy the questions, and the template too if asked, without caches."""
    parts = ["includes", *(["template"] if template else [])]
    for part in parts:
        shutil.copytree(
            ROOT / part,
            target / part,
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache", ".venv"),
        )
    shutil.copy(ROOT / "copier.yml", target)
    return target


def make(folder: Path, *targets: str) -> None:
    """Run make as a user would; its output shows only if it fails."""
    result = subprocess.run(
        ["make", *targets],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def run_script(folder: Path, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one of our scripts in a folder, as make does in the repository."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def bytes_rpc(channel: grpc.Channel, path: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """Return an RPC that takes and returns bytes."""
    return channel.unary_unary(path)


def health_stub(channel: grpc.Channel) -> Any:
    """Return the stub of grpc.health.v1, whose type stubs leave its methods out."""
    return health_pb2_grpc.HealthStub(channel)


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return the code and the message of a call that failed."""
    call = cast("grpc.Call", error)
    return call.code(), call.details() or ""


def free_port() -> int:
    """Return a port of loopback for a server that can't take port 0 and say which it got.

    Nobody else gets it for a minute: its last connection leaves it in TIME_WAIT, so the kernel
    does not hand it out, but a server can still bind it by its number, with SO_REUSEADDR.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the side that closes first is the one that waits
    return port


def await_condition(holds: Callable[[], bool]) -> None:
    """Wait until `holds` returns True, for events without a notification."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
