"""Size: ListMachines of large clusters, through the framework's own client."""

import time

from bench.machine import Process
from bench.report import Report
from bench.rounds import alternate
from bench.setting import Setting
from cmi.client import Client, MachineClass
from cmi.endpoint import Endpoint

SIZES = (1_000, 10_000, 50_000)


def measure(setting: Setting, report: Report) -> None:
    """Compare the driver with the floor at every size; per machine, so that growth shows."""
    report.note("size: through the client; not through the bridge, which is not part of this tree")
    sample = setting.machine_class()
    for size in SIZES:
        with setting.driver(BENCH_MACHINES=size) as driver, setting.floor(machines=size) as floor:
            before = driver.resident()
            samples = alternate(
                {
                    "driver": lambda: _list(driver, sample, size),  # noqa: B023 - called at once
                    "floor": lambda: _list(floor, sample, size),  # noqa: B023
                },
                setting.rounds,
            )
            case = f"ListMachines of {size:,} machines"
            per_machine = {
                name: [seconds / size * 1e6 for seconds in each] for name, each in samples.items()
            }
            report.compare(
                "size", case, "µs per machine", per_machine["driver"], per_machine["floor"]
            )
            grown = (driver.peak() - before) * 2**20 / size
            report.figure("size", case, "bytes/machine", grown)


def _list(server: Process, sample: MachineClass, size: int) -> float:
    with Client(Endpoint.parse(f"tcp://{server.endpoint}")) as client:
        client.list_machines(sample)  # connects
        began = time.perf_counter()
        found = client.list_machines(sample)
        took = time.perf_counter() - began
    if len(found) != size:
        raise RuntimeError(f"{len(found)} of {size} machines were listed")
    return took
