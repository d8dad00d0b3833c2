"""Programs start without forking the process in which gRPC runs; see `tests/forks.py`."""

import ast
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi.testing import serving
from tests.framework.support import StandIn
from tests.support import PATIENCE, ROOT, files_of, health_stub
from tests.terminal import converse

SCRIPTS = [path for path in files_of(ROOT) if path.suffix == ".py" and path.exists()]
FORKING_OPTIONS = {"preexec_fn", "user", "group", "extra_groups"}
BANNED = [
    "import pty",
    "import ptyprocess",
    "from pexpect import run",
    "from pexpect import spawn",
    "from os import fork",
    "from os import forkpty",
    "from multiprocessing import Manager",
    "from multiprocessing import Pool",
    "from multiprocessing import Process",
    "from concurrent.futures import ProcessPoolExecutor",
]


def forking_calls(source: str) -> list[int]:
    """Return the lines of calls in which `subprocess` or `multiprocessing` would fork."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func).rpartition(".")[2]
            starts = name in {"Popen", "run"} or name.startswith(("check_", "create_subprocess_"))
            options = {keyword.arg for keyword in call.keywords}
            method = [ast.unparse(each) for each in call.args]
            if (starts and options & FORKING_OPTIONS) or (
                name == "get_context" and method != ["'spawn'"]
            ):
                found.append(call.lineno)
    return found


@contextmanager
def busy_grpc() -> Iterator[None]:
    """Call a server in this process, one call after the other, while the context is open."""
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)

    with serving(StandIn(lambda _: None)) as at, grpc.insecure_channel(at.target) as channel:
        check = health_stub(channel).Check
        caller = threading.Thread(target=call)
        caller.start()
        try:
            yield
        finally:
            done.set()
            caller.join(PATIENCE)


@pytest.mark.parametrize(
    "call",
    [
        "subprocess.Popen(command, preexec_fn=os.setsid)",
        "subprocess.run(command, preexec_fn=os.setsid)",
        "check_output(command, user='nobody')",
        "asyncio.create_subprocess_exec(program, group='nobody')",
        "multiprocessing.get_context('fork')",
        "multiprocessing.get_context()",
    ],
)
def test_a_forking_call_is_found(call: str) -> None:
    assert forking_calls(call) == [1]


def test_no_call_forks() -> None:
    assert SCRIPTS
    found = {path: forking_calls(path.read_text()) for path in SCRIPTS}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "folder", ["tests", "e2e", "bench", "scripts", "template", "examples/aws", "examples/libvirt"]
)
def test_lint_refuses_what_forks(folder: str) -> None:
    ruff = str(Path(sys.executable).parent / "ruff")
    result = subprocess.run(
        [ruff, "check", "--output-format=concise", f"--stdin-filename={folder}/new.py", "-"],
        cwd=ROOT,
        input="\n".join(BANNED),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in result.stdout.splitlines() if "TID251" in line]
    assert len(lines) == len(BANNED), result.stdout + result.stderr


def test_a_test_in_which_a_library_forks_fails(tmp_path: Path) -> None:
    (tmp_path / "test_library.py").write_text(
        textwrap.dedent("""
            import os, subprocess

            def test_fork():
                os.waitpid(pid, 0) if (pid := os.fork()) else os._exit(0)

            def test_preexec_fn():
                subprocess.run(["true"], preexec_fn=lambda: None)

            def test_subprocess():
                subprocess.run(["true"])
        """)
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.forks", tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed, 2 errors" in result.stdout, result.stdout
    assert "gRPC breaks in forks" in result.stdout


def test_programs_start_while_grpc_is_busy(tmp_path: Path) -> None:
    """With forks, 5 to 15 of 100 programs print an error of gRPC, or nothing at all."""
    with busy_grpc():
        for _ in range(100):
            assert converse(["echo", "hello"], tmp_path, os.environ) == "hello\r\n"


def test_the_terminal_is_the_one_that_controls_the_program(tmp_path: Path) -> None:
    command = ["bash", "-c", "echo ready; read -r line </dev/tty; echo $line; stty size"]
    seen = converse(command, tmp_path, os.environ, [("ready", "hello\r")])
    assert seen.split() == ["hello", "hello", "24", "80"]
