"""With the default limits, a driver needs no more memory than the Deployment allows."""

import sys
import time
from pathlib import Path

import yaml

from tests.driver import RunningDriver, begin, figure
from tests.framework.process import environment
from tests.framework.support import machine_class
from tests.support import ROOT, await_condition

MIB = 1024
"""A MiB in KiB."""
USER_DATA = 900 * 1024


def memory_limit_kib() -> int:
    """Return the memory limit of the driver's container in the Deployment, in KiB."""
    text = (ROOT / "template/kubernetes/deploy/machine-controller.yaml").read_text()
    for document in yaml.safe_load_all(text):
        if document and document["kind"] == "Deployment":
            for container in document["spec"]["template"]["spec"]["containers"]:
                if container["name"] == "driver":
                    limit = container["resources"]["limits"]["memory"]
                    assert limit.endswith("Mi")
                    return int(limit.removesuffix("Mi")) * MIB
    raise AssertionError("no container of the name driver")


def test_all_that_may_be_in_flight_fits(tmp_path: Path) -> None:
    """The calls hang, each with as much user data as the limits allow, and the log is searched for
    all of that data."""
    start = (
        "from tests.framework import process, support\n"
        "import logging, time\n"
        "from pathlib import Path\n"
        "def create(request):\n"
        "    logging.getLogger('sdk').warning('sent a request')\n"
        f"    while not Path({str(tmp_path / 'go')!r}).exists():\n"
        "        time.sleep(0.1)\n"
        "    return support.created(request)\n"
        "support.StandIn.__init__.__defaults__ = (create,)\n"
        "process.main()\n"
    )
    options = ["--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0"]
    command = [sys.executable, "-c", start, "--log-format=json", *options]
    with RunningDriver(command, environment(tmp_path)) as driver, driver.stub() as stub:
        calls = []  # gRPC cancels calls that nothing refers to
        idle = driver.resident_kib()
        for number in range(200):
            line = f"{number}: %d\n"
            data = "".join(line % each for each in range(USER_DATA // 12))[:USER_DATA].encode()
            mine = machine_class({"apiToken": b"correct-horse", "userData": data})
            calls.append(begin(stub, "CreateMachine", mine, f"m{number}", timeout=1000))
        await_condition(lambda: driver.calls_in_flight() >= 30)
        in_flight = driver.calls_in_flight()
        most = 0
        for _ in range(100):
            most = max(most, driver.resident_kib())
            time.sleep(0.1)
        (tmp_path / "go").touch()
    figure(
        f"idle {idle // MIB} MiB; {in_flight} creates of 900 KiB in flight {most // MIB} MiB, "
        f"of {memory_limit_kib() // MIB} MiB that the Deployment grants"
    )
    assert most < memory_limit_kib()
