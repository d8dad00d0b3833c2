"""One thread for work that would block the event loop for too long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_thread = ThreadPoolExecutor(1, thread_name_prefix="background")


def start() -> None:
    """Start the thread early, while threads can still be started."""
    _thread.submit(int)


async def in_background(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in that thread and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_thread, function, *arguments)
