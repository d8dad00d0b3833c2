"""`make demo`: renders a project, and creates, lists and deletes machines with its driver.

It runs in copier's environment. The driver gets a separate one, with its runtime dependencies only.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO, cast

from copier import run_copy

ROOT: Final = Path(__file__).parents[1]
ISOLATED: Final = [os.environ["PYTHON"], "-I", str(ROOT / "template/.template/isolated.py")]
UV: Final = [*ISOLATED, os.environ["UV"]]
PROVIDER: Final = "demo"
ANSWERS: Final = {"provider_name": PROVIDER, "github_org": "my-company"}
FILES: Final = {
    "MCM_CLASS": "kubernetes/machine-class.yaml",
    "MCM_SECRET": "kubernetes/secret.yaml",
}
COMMANDS: Final = {
    "Ask which driver it is": "cmi info",
    "Create three machines": "cmi create machine --count 3",
    "Look at one of them": "cmi status machine-1",
    "Stop it": "cmi shutdown machine-1",
    "List all": "cmi list",
    "Delete all": "cmi delete --all --yes",
}
NEXT: Final = """
Next:
  docs/tutorials/first-driver.md   make a driver of your own, step by step
  docs/how-to/debug.md             what else the client can do
  make help                        what else there is to do here
"""


def main() -> None:
    """Run the demo; whatever happens, leave neither files nor processes behind."""
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mcm-provider-demo-") as folder:
        project = Path(folder) / f"mcm-provider-{PROVIDER}"
        with progress("Render a project", took):
            render(project)
        with progress("Install what its driver needs to run", took):
            install(project)
        with driver(project) as endpoint:
            show_machines(project, endpoint, took)
    print("\nThe driver is stopped, and the project removed.\n")
    width = max(map(len, took))
    print(bold(f"{'STEP':{width}}   SECONDS"))
    for step, seconds in took.items():
        print(f"{step:{width}}   {seconds:7.1f}")
    print(NEXT, end="")


def render(project: Path) -> None:
    """Render the template in this working tree, including uncommitted changes."""
    warnings.simplefilter("ignore")  # copier warns about those changes
    run_copy(str(ROOT), project, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")


def install(project: Path) -> None:
    """Install the driver's locked dependencies and the project, but no development tools."""
    run(project, *UV, "venv", "--quiet", "--python", sys.executable, ".venv")
    locks = ["requirements/run.txt", "requirements/build.txt"]
    hashes = ["--require-hashes", "--only-binary", ":all:"]
    target = ["--quiet", "--python", ".venv/bin/python"]
    run(project, *UV, "pip", "sync", *target, *hashes, *locks)
    run(project, *UV, "pip", "install", *target, "--no-index", "--no-build-isolation", "-e", ".")


@contextmanager
def driver(project: Path) -> Iterator[str]:
    """Run the project's driver on a free port; yield its endpoint; stop it."""
    command = f"python -m {PROVIDER} --endpoint tcp://127.0.0.1:0"
    show("Start the driver, on a free port", f"{command} &")
    started = [".venv/bin/python", *shlex.split(command)[1:], "--log-format=json"]
    with subprocess.Popen(started, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        log = cast("TextIO", process.stderr)
        first = log.readline()
        try:
            yield json.loads(first)["endpoint"]
        finally:
            process.terminate()
            rest = log.read()
            if process.wait() != 0:
                print(first + rest, file=sys.stderr)


def show_machines(project: Path, endpoint: str, took: dict[str, float]) -> None:
    """Create three machines, and delete them again."""
    variables = {"CMI_ENDPOINT": endpoint, **FILES}
    exports = [f"export {name}={value}" for name, value in variables.items()]
    show("Say once where the driver is, and which files to use", *exports)
    for title, command in COMMANDS.items():
        show(title, command)
        program, *arguments = command.split()
        start = time.monotonic()
        run(project, f".venv/bin/{program}", *arguments, **variables)
        took[command] = time.monotonic() - start


def run(folder: Path, *command: str, **variables: str) -> None:
    """Run a command in `folder` and show its output.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True)


def show(title: str, *commands: str) -> None:
    """Print the next step and its commands."""
    print(f"\n{bold(title)}", *(f"$ {command}" for command in commands), sep="\n", flush=True)


@contextmanager
def progress(title: str, took: dict[str, float]) -> Iterator[None]:
    """Print the current step in one line, and how long it has taken so far."""
    start = time.monotonic()
    done = threading.Event()

    def count() -> None:
        while sys.stdout.isatty() and not done.wait(0.1):
            print(f"\r{bold(title)} ... {time.monotonic() - start:.0f} s", end="", flush=True)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield
    finally:
        done.set()
        counting.join()
        print("\r" if sys.stdout.isatty() else "", end="")
    took[title] = time.monotonic() - start
    print(f"{bold(title)} ... {took[title]:.1f} s", flush=True)


def bold(text: str) -> str:
    """Return a text in bold on a terminal, unless NO_COLOR is set."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[1m{text}\x1b[0m" if wanted else text


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: the demo failed at: {shlex.join(map(str, error.cmd))}")
    except KeyboardInterrupt:
        sys.exit("stopped")
