"""The base class of a driver."""

from collections.abc import Awaitable
from types import MappingProxyType
from typing import ClassVar

from cmi.errors import ErrorTable
from cmi.provider_id import ProviderIdFormat


class Driver:
    """Base class of a driver. Subclass it, and write the methods that your cloud supports.

    `create_machine` and `delete_machine` are mandatory; `initialize_machine`,
    `get_machine_status`, `list_machines`, `shut_down_machine` and `get_volume_ids` are optional.
    Each takes one request and returns the response of the same name (see `cmi.messages`). The
    type annotation of the request determines what is validated before the method is called.

    A `def` runs in a thread, so it may block; an `async def` runs on the event loop, so it
    must not block. The driver announces the methods that it has as its capabilities (C4, C5).
    """

    errors: ClassVar[ErrorTable] = MappingProxyType({})
    """Maps the SDK's exception classes to `DriverError` classes, or to functions."""

    provider_id_format: ClassVar[ProviderIdFormat | None] = None
    """The form of this driver's provider IDs. If an ID has another form, the framework logs a
    warning and uses the machine's name: older clients put the last known state into this field."""

    def probe(self) -> bool | Awaitable[bool]:
        """Return whether the driver is ready; return False while it initialises (C6).

        Raises:
            FailedPrecondition: The driver is unhealthy, or a dependency is missing.
        """
        return True
