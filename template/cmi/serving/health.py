"""`grpc.health.v1`: SERVING until the driver begins to stop, NOT_SERVING afterwards."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Reports one status for the whole server and for each of its services.

    gRPC's own servicer holds a lock while it sends to a watcher. So a watcher that reads nothing
    would keep the server from stopping.

    Args:
        services: The names of the services.
    """

    def __init__(self, *services: str) -> None:
        self._services = {"", *services}
        self._is_stopping = asyncio.Event()

    def stop(self) -> None:
        """Report NOT_SERVING from now on, to watchers too."""
        self._is_stopping.set()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the RPC's name
        """Answer once."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name is served")
        return _Status(status=self._status)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the RPC's name
        """Report the status, and report it again when the driver stops."""
        if request.service in self._services:
            await context.write(_Status(status=self._status))
            await self._is_stopping.wait()
            await context.write(_Status(status=self._status))
        else:
            await context.write(_Status(status=_Status.SERVICE_UNKNOWN))
        await asyncio.get_running_loop().create_future()

    @property
    def _status(self) -> Any:
        return _Status.NOT_SERVING if self._is_stopping.is_set() else _Status.SERVING
