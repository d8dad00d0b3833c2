"""The base class of a driver."""

from collections.abc import Awaitable
from types import MappingProxyType
from typing import ClassVar

from cmi.errors import ErrorTable
from cmi.provider_id import ProviderIdFormat


class Driver:
    """Base class of a driver: subclass it and write the methods your cloud supports.

    `create_machine` and `delete_machine` are mandatory; `initialize_machine`,
    `get_machine_status`, `list_machines`, `shut_down_machine` and `get_volume_ids` are optional.
    Each takes one
    request and returns the response of the same name (see `cmi.messages`). The annotation
    of the request says what is validated before the method is called.

    A `def` runs in a thread, so it may block; an `async def` runs on the event loop, so it
    must not. The capabilities that the driver announces are the methods it has (C4, C5).
    """

    errors: ClassVar[ErrorTable] = MappingProxyType({})
    """What the SDK's exceptions mean: exception class to `DriverError` class, or to a function."""

    provider_id_format: ClassVar[ProviderIdFormat | None] = None
    """The form of this driver's provider IDs. Another one is ignored, with a warning, in favour
    of the machine's name: older clients put the last known state into the same field."""

    def probe(self) -> bool | Awaitable[bool]:
        """Tell whether the driver is ready: False while it initialises (C6).

        Raises:
            FailedPrecondition: It is unhealthy, or something it depends on is missing.
        """
        return True
