"""A driver served in this process, over a real socket."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cmi.client import Client
from cmi.driver import Driver
from cmi.endpoint import Endpoint
from cmi.serving.identity import PluginInfo
from cmi.serving.options import ServerOptions
from cmi.serving.server import Server

TEST_PLUGIN = PluginInfo("driver.under-test", "0")


@contextmanager
def serving(driver: Driver, options: ServerOptions | None = None) -> Iterator[Endpoint]:
    """Serve `driver` while the context is open; on a free loopback port unless told otherwise.

    Yields:
        Where it listens.
    """
    defaults = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), grace_period=5)
    server = Server(driver, TEST_PLUGIN, options or defaults)
    loop = background_loop()
    endpoint = asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()


@contextmanager
def connected(driver: Driver, timeout: float = 30.0) -> Iterator[Client]:
    """Serve `driver` while the context is open.

    Args:
        driver: The driver.
        timeout: The deadline of a call, in seconds.

    Yields:
        A client that talks to it.
    """
    with serving(driver) as endpoint, Client(endpoint, timeout) as client:
        yield client


@cache
def background_loop() -> asyncio.AbstractEventLoop:
    """Return the one loop of this process: gRPC does not like to have several."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="test-servers", daemon=True).start()
    return loop
