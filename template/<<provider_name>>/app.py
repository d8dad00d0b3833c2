"""The entrypoint: makes the driver; the command line around it is the framework's."""

from typing import TYPE_CHECKING

from cmi import driver_app

if TYPE_CHECKING:
    from cmi import Driver


def make_driver() -> "Driver":
    """Return the driver as the environment configures it.

    Raises:
        StartupError: The configuration is wrong; the process ends with its message.
    """
    # Imported late: an SDK takes its time, and neither signals nor `--help` should wait for it.
    from .cloud import Cloud
    from .machineserver import MachineServer

    return MachineServer(Cloud.from_environment())


main = driver_app(make_driver)
