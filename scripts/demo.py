"""`make demo`: from the template to machines that are created, listed and deleted again."""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from copier import run_copy

TEMPLATE = Path(__file__).parents[1]
PROVIDER = "demo"
ANSWERS = {"provider_name": PROVIDER, "github_org": "my-company"}
MACHINES = ("machine-1", "machine-2", "machine-3")
FILES = ("--class", "kubernetes/machine-class.yaml", "--secret", "kubernetes/secret.yaml")


def main() -> None:
    """Run the demo; whatever happens, leave neither files nor processes behind."""
    with tempfile.TemporaryDirectory(prefix="mcm-provider-demo-") as folder:
        project = Path(folder) / f"mcm-provider-{PROVIDER}"
        data = " ".join(f"-d {name}={value}" for name, value in ANSWERS.items())
        step("Render a project", f"copier copy --defaults {data} . {project}")
        render(project)
        step("Install it", "make setup")
        run(project, "make", "--no-print-directory", "setup")
        with driver(project) as endpoint:
            show_machines(project, endpoint)
    print("\nDone: the driver is stopped and the project removed.")


def render(project: Path) -> None:
    """Render the template as it lies here, uncommitted changes included."""
    warnings.simplefilter("ignore")  # copier warns of those changes
    run_copy(str(TEMPLATE), project, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")


@contextmanager
def driver(project: Path) -> Iterator[str]:
    """Run the project's driver on a free port; yield its endpoint; stop it."""
    arguments = ["-m", PROVIDER, "--endpoint=tcp://127.0.0.1:0", "--log-format=json"]
    step("Start its driver", " ".join(["python", *arguments]))
    command = [".venv/bin/python", *arguments]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        log = cast("TextIO", process.stderr)
        first = log.readline()
        try:
            endpoint = json.loads(first)["endpoint"]
            print(f"It serves on {endpoint}")
            yield endpoint
        finally:
            process.terminate()
            rest = log.read()
            if process.wait() != 0:
                print(first + rest, file=sys.stderr)


def show_machines(project: Path, endpoint: str) -> None:
    """Take three machines through their lives with the command-line client."""

    def cmi(*arguments: str) -> None:
        print("$ python -m cmi", *arguments, flush=True)
        run(project, ".venv/bin/python", "-m", "cmi", *arguments, f"--endpoint={endpoint}")

    step("Ask the driver who it is")
    cmi("info")
    step("Create three machines")
    for machine in MACHINES:
        cmi("create", machine, *FILES)
    step("Look at one, and list all")
    cmi("status", MACHINES[0], *FILES)
    cmi("list", *FILES)
    step("Shut one down")
    cmi("shutdown", MACHINES[0], *FILES)
    step("Delete all")
    for machine in MACHINES:
        cmi("delete", machine, *FILES)
    cmi("list", *FILES)


def run(folder: Path, *command: str) -> None:
    """Run a command in `folder` and show what it prints.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    subprocess.run(command, cwd=folder, check=True)


def step(title: str, command: str = "") -> None:
    """Say what happens next."""
    print(f"\n==> {title}", *([f"$ {command}"] if command else []), sep="\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: the demo failed at: {' '.join(error.cmd)}")
    except KeyboardInterrupt:
        sys.exit("stopped")
