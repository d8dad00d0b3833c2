"""What several test files need: this repository and copies of it, git, make, pieces of gRPC."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import grpc
import yaml
from grpc_health.v1 import health_pb2_grpc

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


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return what it prints."""
    return subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, *, tag: str | None = None) -> None:
    """Commit all that a folder holds."""
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
