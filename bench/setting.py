"""The setting of all benchmarks: a project whose provider does nothing, and the floors."""

import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from copier import run_copy

from bench.load import Generator
from bench.machine import Process, free_endpoint
from cmi.client import MachineClass
from cmi.manifests import read_provider_spec, read_secret
from cmi.v1 import cmi_pb2

ROOT = Path(__file__).parents[1]
PROVIDER = "noop"
ANSWERS = {"provider_name": PROVIDER, "github_org": "bench"}

Form: TypeAlias = Literal["async", "thread"]
"""How the methods are written: `async def`, or `def`, which runs in a thread."""
FORMS: tuple[Form, ...] = ("async", "thread")
NAMES = {"async": "async def", "thread": "def"}


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting in which the benchmarks run.

    Attributes:
        folder: A temporary folder.
        quick: Measure less, and for a shorter time.
        go: Use the client and the floor that are in Go.
        rounds: How often each contestant is measured.
    """

    folder: Path
    quick: bool
    go: bool
    rounds: int

    @property
    def project(self) -> Path:
        """The rendered project."""
        return self.folder / "project"

    @property
    def python(self) -> Path:
        """The Python of its environment, which also runs the floors."""
        return self.project / ".venv/bin/python"

    def prepare(self) -> None:
        """Render and install the project, and build the programs in Go."""
        render(self.project)
        install(self.project)
        shutil.copy(ROOT / "bench/provider/app.py", self.project / PROVIDER / "app.py")
        # The floor can import the stubs, but nothing else from the framework.
        shutil.copytree(self.project / "cmi/v1", self.folder / "floor/cmi/v1")
        shutil.copy(ROOT / "bench/floor.py", self.folder / "floor")
        sample = self.machine_class()
        (self.folder / "requests").mkdir()
        for rpc in ("CreateMachine", "GetMachineStatus", "ListMachines"):
            request = getattr(cmi_pb2, f"{rpc}Request")(
                ProviderSpec=sample.provider_spec, Secrets=sample.secrets
            )
            (self.folder / "requests" / rpc).write_bytes(request.SerializeToString())
        if self.go:
            build_go(self.folder / "go")

    def machine_class(self) -> MachineClass:
        """Return the sample of the project."""
        samples = self.project / "kubernetes"
        return MachineClass(
            provider_spec=read_provider_spec(samples / "machine-class.yaml"),
            secrets=read_secret(samples / "secret.yaml"),
        )

    def generator(self) -> Generator:
        """Return the load generator: in Go, or in Python where Go is not installed."""
        python = (self.python, ROOT / "bench/python_load.py")
        program = (self.folder / "go/load",) if self.go else python
        return Generator(program, self.folder / "requests")

    def driver(
        self,
        form: Form = "async",
        *options: str,
        log: bool = False,
        **settings: object,
    ) -> Process:
        """Start the driver under test.

        Args:
            form: How its methods are written.
            options: Of its command line.
            log: Whether it logs calls.
            settings: Variables of its environment.
        """
        endpoint = free_endpoint()
        level = "info" if log else "warning"
        listen = (f"--endpoint=tcp://{endpoint}", f"--log-level={level}", "--log-format=json")
        return Process(
            [self.python, "-m", PROVIDER, *listen, *options],
            {"BENCH_FORM": form, **{key: str(value) for key, value in settings.items()}},
            endpoint=endpoint,
        )

    def floor(self, form: Form = "async", machines: int = 1) -> Process:
        """Start the smallest server in Python."""
        folder = self.folder / "floor"
        command: list[str | Path] = [self.python, folder / "floor.py", form, str(machines)]
        return Process(command, {"PYTHONPATH": str(folder)})

    def go_floor(self) -> Process:
        """Start the smallest server in Go."""
        return Process([self.folder / "go/floor", "127.0.0.1:0"])


def render(target: Path, template: Path = ROOT) -> None:
    """Render the template in this working tree, including uncommitted changes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copier warns about those changes
        run_copy(str(template), target, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")


def install(project: Path) -> None:
    """Create the project's environment."""
    run(project, "make", "--silent", "setup")


def run(folder: Path, *command: str | Path) -> None:
    """Run a command quietly.

    Raises:
        RuntimeError: It failed; says what it printed.
    """
    result = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {result.stdout}")


def build_go(target: Path) -> None:
    """Build the load generator and the floor in Go, with stubs made from the template's proto."""
    source = target / "source"
    shutil.copytree(ROOT / "bench/go", source)
    (source / "cmi").mkdir()
    package = "mcm-provider-template/bench"
    plugins = [
        f"--plugin={name}={_tool(source, name)}" for name in ("protoc-gen-go", "protoc-gen-go-grpc")
    ]
    options = [
        f"--{plugin}{kind}={value}"
        for plugin in ("go", "go-grpc")
        for kind, value in (
            ("_out", source),
            ("_opt", f"module={package},Mcmi/v1/cmi.proto={package}/cmi"),
        )
    ]
    generator = ROOT / "build/stubs/bin/python"
    protoc = ("-m", "grpc_tools.protoc", "-I", ROOT / "template")
    run(source, generator, *protoc, *plugins, *options, "cmi/v1/cmi.proto")
    run(source, "go", "build", "-o", f"{target}{os.sep}", "./load", "./floor")


def _tool(module: Path, name: str) -> str:
    return subprocess.run(
        ["go", "tool", "-n", name], cwd=module, check=True, capture_output=True, text=True
    ).stdout.strip()
