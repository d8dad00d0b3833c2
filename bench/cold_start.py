"""Cold start: the time from the start of a process to its first answer."""

import re
import subprocess
import time
from collections.abc import Callable
from statistics import median

from bench.machine import SERVER_CORES, Process, pinned
from bench.report import Report, Target
from bench.rounds import alternate
from bench.setting import PROVIDER, Setting

TARGET = Target(1.25)
PACKAGES = ("asyncio", "google.protobuf", "grpc", "pydantic", "typer", "prometheus_client", "cmi")
"""What a driver imports, the framework last; prometheus-client only if metrics are asked for."""


def measure(setting: Setting, report: Report) -> None:
    """Compare with the floor, with compiled bytecode and without; then see what imports take."""
    nowhere = {
        "PYTHONPYCACHEPREFIX": str(setting.folder / "nothing"),
        "PYTHONDONTWRITEBYTECODE": "yes",
    }
    for case, settings in (("compiled bytecode", {}), ("no compiled bytecode", nowhere)):
        samples = alternate(
            {
                "driver": _starting(lambda s=settings: _driver(setting, s)),  # type: ignore[misc]
                "floor": _starting(lambda s=settings: _floor(setting, s)),  # type: ignore[misc]
            },
            setting.rounds,
        )
        target = TARGET if not settings else None
        for index, name in enumerate(("wall ms", "CPU ms")):
            driver = [each[index] for each in samples["driver"]]
            floor = [each[index] for each in samples["floor"]]
            report.compare("cold start", case, name, driver, floor, target if index == 0 else None)
    for package, milliseconds in _imports(setting).items():
        report.figure("cold start", f"import {package}, after those above", "ms", milliseconds)


def _driver(setting: Setting, settings: dict[str, str]) -> Process:
    options = ("--endpoint=tcp://127.0.0.1:0", "--log-format=json")
    return Process([setting.python, "-m", PROVIDER, *options], settings)


def _floor(setting: Setting, settings: dict[str, str]) -> Process:
    folder = setting.folder / "floor"
    return Process(
        [setting.python, folder / "floor.py", "async"], {"PYTHONPATH": str(folder), **settings}
    )


def _starting(start: Callable[[], Process]) -> Callable[[], tuple[float, float]]:
    """Return what measures a start: its wall and its CPU time, in milliseconds."""

    def sample() -> tuple[float, float]:
        began = time.perf_counter()
        with start() as process:
            return (time.perf_counter() - began) * 1000, process.usage.cpu() * 1000

    return sample


def _imports(setting: Setting) -> dict[str, float]:
    """Return how long each import takes that follows those before it, in milliseconds."""
    code = "; ".join(f"import {package}" for package in (*PACKAGES[:-1], "cmi.app"))
    command = pinned(SERVER_CORES, [setting.python, "-X", "importtime", "-c", code])
    found: dict[str, list[int]] = {package: [] for package in PACKAGES}
    for _ in range(setting.rounds):
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = re.findall(r"\| +(\d+) \| (\S+)$", result.stderr, re.MULTILINE)
        for package in PACKAGES:
            name = "cmi.app" if package == "cmi" else package
            found[package].append(sum(int(time) for time, module in lines if module == name))
    return {package: median(times) / 1000 for package, times in found.items()}
