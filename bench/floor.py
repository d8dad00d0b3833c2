"""The floor: the smallest grpc.aio server with the driver's stubs and one pydantic model.

Run as a process of its own, with nothing of the framework on its path but `cmi.v1`:

    python floor.py async|thread [MACHINES]
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cmi.v1 import cmi_pb2, cmi_pb2_grpc

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]


class Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class Disk(Model):
    name: Name
    size_gib: int = Field(alias="sizeGiB", ge=1)
    type: Literal["ssd", "hdd"] = "ssd"


class Network(Model):
    subnet: Name
    security_groups: tuple[Name, ...] = ()


class ProviderSpec(Model):
    tags: dict[str, str]
    region: Name
    machine_type: Name
    image: Name
    disks: tuple[Disk, ...]
    network: Network


class Floor(cmi_pb2_grpc.MachineServicer):
    """Parses, validates, answers: what no driver can do without."""

    def __init__(self, machines: int) -> None:
        self._machines = {f"noop:///machine-{each}": f"machine-{each}" for each in range(machines)}

    async def run(self, method: Callable[[Any], Any], request: Any) -> Any:
        return method(request)

    async def CreateMachine(self, request: Any, context: Any) -> Any:
        return await self.run(self._create, request)

    async def GetMachineStatus(self, request: Any, context: Any) -> Any:
        return await self.run(self._status, request)

    async def ListMachines(self, request: Any, context: Any) -> Any:
        return await self.run(self._list, request)

    def _create(self, request: Any) -> Any:
        ProviderSpec.model_validate_json(request.ProviderSpec)
        name = request.MachineName
        return cmi_pb2.CreateMachineResponse(ProviderID=f"noop:///{name}", NodeName=name)

    def _status(self, request: Any) -> Any:
        ProviderSpec.model_validate_json(request.ProviderSpec)
        name = request.MachineName
        return cmi_pb2.GetMachineStatusResponse(ProviderID=f"noop:///{name}", NodeName=name)

    def _list(self, request: Any) -> Any:
        ProviderSpec.model_validate_json(request.ProviderSpec)
        return cmi_pb2.ListMachinesResponse(MachineList=self._machines)


class ThreadFloor(Floor):
    """The same, with the one hop to a thread that a method which blocks needs."""

    def __init__(self, machines: int) -> None:
        super().__init__(machines)
        self._pool = ThreadPoolExecutor(1000)

    async def run(self, method: Callable[[Any], Any], request: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, method, request)


async def main(form: str, machines: int = 1) -> None:
    """Serve on a free port until SIGTERM; say where, as the driver does."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server()
    kind: Any = ThreadFloor if form == "thread" else Floor
    floor = kind(machines)
    cmi_pb2_grpc.add_MachineServicer_to_server(floor, server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    os.write(2, f'{{"message": "serving", "endpoint": "tcp://127.0.0.1:{port}"}}\n'.encode())
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
