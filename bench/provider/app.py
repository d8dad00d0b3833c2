"""A provider without a cloud, so that only the framework costs time. It replaces a rendered one."""

import asyncio
import os
import time

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    driver_app,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec, Secrets

SECONDS = float(os.environ.get("BENCH_SECONDS", "0"))
"""How long CreateMachine takes."""
MACHINES = {
    f"noop:///machine-{each}": f"machine-{each}"
    for each in range(int(os.environ.get("BENCH_MACHINES", "1")))
}
"""The response of ListMachines."""


def created(name: str) -> CreateMachineResponse:
    return CreateMachineResponse(provider_id=f"noop:///{name}", node_name=name)


def found(name: str) -> GetMachineStatusResponse:
    return GetMachineStatusResponse(provider_id=f"noop:///{name}", node_name=name)


class Blocking(Driver):
    """Every method is a `def`."""

    def create_machine(
        self, request: CreateMachineRequest[ProviderSpec, Secrets]
    ) -> CreateMachineResponse:
        if SECONDS:
            time.sleep(SECONDS)
        return created(request.machine_name)

    def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse:
        return DeleteMachineResponse()

    def get_machine_status(
        self, request: GetMachineStatusRequest[MachineScope, Credentials]
    ) -> GetMachineStatusResponse:
        return found(request.machine_name)

    def list_machines(
        self, request: ListMachinesRequest[MachineScope, Credentials]
    ) -> ListMachinesResponse:
        return ListMachinesResponse(machines=MACHINES)


class Async(Driver):
    """Every method is an `async def`."""

    async def create_machine(
        self, request: CreateMachineRequest[ProviderSpec, Secrets]
    ) -> CreateMachineResponse:
        if SECONDS:
            await asyncio.sleep(SECONDS)
        return created(request.machine_name)

    async def delete_machine(
        self, request: DeleteMachineRequest[MachineScope, Credentials]
    ) -> DeleteMachineResponse:
        return DeleteMachineResponse()

    async def get_machine_status(
        self, request: GetMachineStatusRequest[MachineScope, Credentials]
    ) -> GetMachineStatusResponse:
        return found(request.machine_name)

    async def list_machines(
        self, request: ListMachinesRequest[MachineScope, Credentials]
    ) -> ListMachinesResponse:
        return ListMachinesResponse(machines=MACHINES)


def make_driver() -> Driver:
    """Return the driver that BENCH_FORM names."""
    return Blocking() if os.environ.get("BENCH_FORM") == "thread" else Async()


main = driver_app(make_driver)
