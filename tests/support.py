"""Helpers for several test files: copies of this repository, git, make, and parts of gRPC."""

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
"""The answers to the questions without a default in most tests."""
DATA = [f"--data={name}={value}" for name, value in ANSWERS.items()]
"""The same answers as options for a command line."""

UNRELEASED = "HEAD"
"""Until there is a release, the last commit takes its place."""

PATIENCE = 120.0
"""The number of seconds after which a test stops waiting, even on a busy machine."""


def link(source: Path, folder: Path, *left_out: str) -> None:
    """Fill a folder with symbolic links to the contents of `source`, except for some names.

    Environments get their own stamp. So `make` considers them complete, and never recreates the
    original through a link.
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
    """Return the tags of all releases, from the oldest to the newest."""
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
    """Return the files of a folder that git tracks or does not ignore."""
    names = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [folder / name for name in names.split("\0") if name]


def copy_repository(target: Path, *, template: bool) -> Path:
    """Copy the questions, and optionally the template, without caches."""
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
    """Run make as a user would, and show its output only if it fails."""
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
    """Run one of this repository's scripts in a folder, as make does in the repository."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def bytes_rpc(channel: grpc.Channel, path: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """Return an RPC whose request and response are bytes."""
    return channel.unary_unary(path)


def health_stub(channel: grpc.Channel) -> Any:
    """Return the stub of grpc.health.v1 without a type, since its type stubs lack the methods."""
    return health_pb2_grpc.HealthStub(channel)


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return the code and the message of a call that failed."""
    call = cast("grpc.Call", error)
    return call.code(), call.details() or ""


def free_port() -> int:
    """Return a free port on loopback, for a server that can't choose one and report it.

    No other process gets the port for a minute: its last connection leaves it in TIME_WAIT, so the
    kernel does not assign it. But a server can still bind it by its number, with SO_REUSEADDR.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the side that closes first is in TIME_WAIT
    return port


def await_condition(holds: Callable[[], bool]) -> None:
    """Wait until `holds` returns True, for events that cause no notification."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
