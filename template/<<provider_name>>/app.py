"""The entrypoint: creates the driver and runs it with the framework's command line."""

from typing import TYPE_CHECKING

from cmi import driver_app

if TYPE_CHECKING:
    from cmi import Driver


def make_driver() -> "Driver":
    """Return the driver, configured from environment variables.

    Raises:
        StartupError: The configuration is wrong; the process exits with this message.
    """
    # Imported late, because an SDK is slow to import: signals and `--help` should not wait for it.
    from .cloud import Cloud
    from .machineserver import MachineServer

    return MachineServer(Cloud.from_environment())


main = driver_app(make_driver)
