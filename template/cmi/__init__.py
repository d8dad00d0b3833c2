"""The author's API: all that a provider's package needs to write a driver.

A provider imports from here, from `cmi.testing` and from `cmi.conformance`, and from nowhere
else in `cmi`. What is listed in these three keeps its meaning from version to version.

The names are loaded when they are first used. A driver process imports its command line first,
and has to heed SIGTERM before gRPC and pydantic, which take a second on a busy machine, are in.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmi.api import *  # noqa: F403 - the list is there
    from cmi.api import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        home = "cmi.app" if name == "driver_app" else "cmi.api"
        return getattr(import_module(home), name)

    def __dir__() -> list[str]:
        return [*import_module("cmi.api").__all__]
