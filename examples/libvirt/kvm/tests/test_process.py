"""Tests the driver as a process, with the samples and the command-line client."""

from pathlib import Path

from cmi.testing import Samples, driver_process, run_client

from .console import write_hosts

PACKAGE = __name__.rpartition(".")[0]


def test_the_samples_work_with_the_command_line(samples: Samples, tmp_path: Path) -> None:
    folder = samples.copy_to(tmp_path).folder
    machine_class = f"--class={folder}/machine-class.yaml", f"--secret={folder}/secret.yaml"
    hosts = " ".join(f"{name}={uri}" for name, uri in write_hosts(tmp_path).items())
    with driver_process(f"{PACKAGE}.served", {"LIBVIRT_HOSTS": hosts}) as driver:
        endpoint = f"--endpoint={driver.endpoint}"
        assert run_client("probe", endpoint) == "ready\n"
        assert "libvirt:///rack1/" in run_client("create", "m1", *machine_class, endpoint)
        assert "m1" in run_client("status", "m1", *machine_class, endpoint)
        assert "m1" in run_client("list", *machine_class, endpoint)
        run_client("shutdown", "m1", *machine_class, endpoint)
        run_client("delete", "m1", *machine_class, endpoint)
        assert "m1" not in run_client("list", *machine_class, endpoint)
