"""The author's API: everything that a provider's package needs to write a driver.

A provider imports from here, from `cmi.testing` and from `cmi.conformance`, and from nowhere
else in `cmi`. The names listed in these three keep their meaning from version to version.

The names are loaded when they are first used. A driver process imports its command line first,
and has to obey SIGTERM before gRPC and pydantic are loaded, which takes a second on a busy
machine.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# gRPC's fork handlers wake threads that the child process does not have, so the child hangs or
# ends the calls of its parent. Our child processes don't use gRPC. It reads the variable at import.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

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
