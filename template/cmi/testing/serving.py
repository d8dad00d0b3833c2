"""Serves a driver in this process, on a real socket."""

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
    """Serve `driver` while the context is open, by default on a free loopback port.

    Yields:
        The driver's address.
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
        A client that is connected to the driver.
    """
    with serving(driver) as endpoint, Client(endpoint, timeout) as client:
        yield client


@cache
def background_loop() -> asyncio.AbstractEventLoop:
    """Return the only event loop for servers in this process: gRPC can't handle several."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="test-servers", daemon=True).start()
    return loop
