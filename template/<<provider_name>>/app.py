"""The entrypoint: makes the driver; the command line around it is the framework's."""

from cmi import Driver, driver_app


def make_driver() -> Driver:
    """Return the driver as the environment configures it.

    Raises:
        StartupError: The configuration is wrong; the process ends with its message.
    """
    # Imported late: an SDK takes its time, and `--help` or a typo in an option need none of it.
    from .cloud import Cloud
    from .machineserver import MachineServer

    return MachineServer(Cloud.from_environment())


main = driver_app(make_driver)
