"""Helpers for an author's tests: a driver on a real socket, and a client that calls it.

They are independent of the provider. `serving` and `connected` run a driver in this process,
`driver_process` runs it like a user, and `Samples` reads the samples in `kubernetes/`.
"""

from cmi.client import Client, MachineClass
from cmi.testing.expecting import refused
from cmi.testing.logs import captured_log
from cmi.testing.process import DriverProcess, driver_process, run_client
from cmi.testing.samples import Samples
from cmi.testing.serving import connected, serving

__all__ = [
    "Client",
    "DriverProcess",
    "MachineClass",
    "Samples",
    "captured_log",
    "connected",
    "driver_process",
    "refused",
    "run_client",
    "serving",
]
