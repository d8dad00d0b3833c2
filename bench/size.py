"""Size: ListMachines of large clusters, through the framework's client and the bridge."""

import base64
import json
import os
import re
import subprocess
import time
from pathlib import Path

from bench.machine import Process
from bench.report import Report
from bench.rounds import alternate
from bench.setting import ROOT, Setting
from cmi.client import Client, MachineClass
from cmi.endpoint import Endpoint

SIZES = (1_000, 10_000, 50_000)
BENCHMARK = re.compile(r"(?P<nanoseconds>[0-9.]+) ns/op\s+(?P<bytes>[0-9]+) B/op")


def measure(setting: Setting, report: Report) -> None:
    """Compare the driver with the floor at every size; per machine, so that growth shows."""
    sample = setting.machine_class()
    bridge = _build_bridge(setting.folder) if setting.go else None
    if bridge is None:
        report.note("size: through the client only; the bridge needs Go")
    for size in SIZES:
        case = f"ListMachines of {size:,} machines"
        with setting.driver(BENCH_MACHINES=size) as driver, setting.floor(machines=size) as floor:
            before = driver.usage.resident()
            samples = alternate(
                {
                    "driver": lambda: _list(driver, sample, size),  # noqa: B023 - called at once
                    "floor": lambda: _list(floor, sample, size),  # noqa: B023
                },
                setting.rounds,
            )
            report.compare("size", case, "µs per machine", samples["driver"], samples["floor"])
            grown = (driver.usage.peak() - before) * 2**20 / size
            report.figure("size", case, "bytes/machine", grown)
            if bridge is None:
                continue
            memory: list[float] = []
            samples = alternate(
                {
                    "bridge": lambda: _list_through(bridge, driver, sample, size, memory),  # noqa: B023
                    "client": lambda: _list(driver, sample, size),  # noqa: B023
                },
                setting.rounds,
            )
            case += ", bridge ÷ client"
            report.compare("size", case, "µs per machine", samples["bridge"], samples["client"])
            report.figure("size", case, "bytes/machine", max(memory))


def _list(server: Process, sample: MachineClass, size: int) -> float:
    """Return the microseconds that one machine of a list takes."""
    with Client(Endpoint.parse(f"tcp://{server.endpoint}")) as client:
        client.list_machines(sample)  # connects
        began = time.perf_counter()
        found = client.list_machines(sample)
        took = time.perf_counter() - began
    if len(found) != size:
        raise RuntimeError(f"{len(found)} of {size} machines were listed")
    return took / size * 1e6


def _list_through(
    bridge: Path, server: Process, sample: MachineClass, size: int, memory: list[float]
) -> float:
    """Return the same for a list through the bridge; add the bytes that it allocates for each."""
    secrets = {key: base64.b64encode(value).decode() for key, value in sample.secrets.items()}
    machine_class = {"providerSpec": json.loads(sample.provider_spec), "secrets": secrets}
    environment = {
        "CMI_ENDPOINT": f"tcp://{server.endpoint}",
        "MACHINE_CLASS": json.dumps(machine_class),
    }
    output = subprocess.run(
        [
            bridge,
            "-test.run=^$",
            "-test.bench=ListMachines",
            "-test.benchmem",
            "-test.benchtime=3x",
        ],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = BENCHMARK.search(output)
    if found is None:
        raise RuntimeError(f"the bridge's benchmark failed: {output}")
    memory.append(int(found["bytes"]) / size)
    return float(found["nanoseconds"]) / size / 1e3


def _build_bridge(folder: Path) -> Path:
    program = folder / "bridge.test"
    subprocess.run(
        ["go", "test", "-c", "-o", program, "./internal/bridge"], cwd=ROOT / "bridge", check=True
    )
    return program
