"""`cmi.v1.Identity`: the driver's name, its capabilities, and whether it is ready."""

import asyncio
import inspect
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

import grpc
from google.protobuf.message import Message

from cmi.contract import IDENTITY, RPCS
from cmi.driver import Driver
from cmi.errors import FailedPrecondition, StartupError, translate
from cmi.serving.handler import Call, generic_handler
from cmi.serving.methods import Method
from cmi.serving.runner import Runner
from cmi.v1 import cmi_pb2
from cmi.version import VERSION

ENTRY_POINT_GROUP: Final = "cmi.plugin"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """The response of GetPluginInfo.

    Attributes:
        name: At most 63 letters, digits, '-' and '.', naming plugin and company (C2).
        version: Non-empty (C3).
        manifest: More information for people.
    """

    name: str
    version: str
    manifest: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_package(cls, package: str) -> "PluginInfo":
        """Read name and version from the metadata of the distribution that contains `package`.

        The name is that of its entry point in the group `cmi.plugin`.

        Raises:
            StartupError: The package is not installed, so it has no metadata. Or another driver is
                installed too, so that one of them runs with the framework of the other.
        """
        installed = metadata.entry_points(group=ENTRY_POINT_GROUP)
        names = sorted({each.dist.name for each in installed if each.dist is not None})
        if len(names) > 1:
            raise StartupError(
                f"{' and '.join(names)} are installed in one environment, and each brings its own "
                "package cmi, which overwrites the other's; install each in its own environment"
            )
        for entry_point in installed:
            if entry_point.value == package and entry_point.dist is not None:
                manifest = {
                    "python": platform.python_version(),
                    "template": VERSION,
                    "provider": package,
                }
                return cls(entry_point.name, entry_point.dist.version, manifest)
        raise StartupError(
            f"the package {package} is not installed, so its name and version are unknown; "
            "run `make setup` or `pip install --editable .`"
        )


def identity_handler(
    driver: Driver, methods: Mapping[str, Method], plugin: PluginInfo, probes: Runner
) -> grpc.GenericRpcHandler:
    """Return the handler that serves `cmi.v1.Identity` for `driver`.

    Args:
        driver: The driver.
        methods: The driver's methods, which determine its capabilities (C4, C5).
        plugin: The driver's name and version.
        probes: Runs the driver's probe, separately from the machine calls.
    """
    info = cmi_pb2.GetPluginInfoResponse(
        name=plugin.name, version=plugin.version, manifest=plugin.manifest
    )
    capabilities = cmi_pb2.GetPluginCapabilitiesResponse(
        capabilities=[
            cmi_pb2.PluginCapability(rpc=cmi_pb2.PluginCapability.RPC(type=rpc.capability))
            for rpc in RPCS
            if rpc.name in methods
        ]
    )
    prober = _Prober(driver, probes)

    async def get_plugin_info(_call: Call, _message: Message) -> Message:
        return info

    async def get_plugin_capabilities(_call: Call, _message: Message) -> Message:
        return capabilities

    async def probe(_call: Call, _message: Message) -> Message:
        answer = cmi_pb2.ProbeResponse()
        answer.ready.value = await prober.probe()
        return answer

    behaviours = {
        "GetPluginInfo": get_plugin_info,
        "GetPluginCapabilities": get_plugin_capabilities,
        "Probe": probe,
    }
    return generic_handler(IDENTITY, behaviours, driver.errors, logging.DEBUG)


class _Prober:
    """Runs `Driver.probe` once at a time for all callers, separately from the machine calls."""

    def __init__(self, driver: Driver, runner: Runner) -> None:
        self._driver = driver
        self._is_async = inspect.iscoroutinefunction(driver.probe)
        self._runner = runner
        self._running: asyncio.Future[bool] | None = None

    async def probe(self) -> bool:
        """Return whether the driver is ready.

        Raises:
            FailedPrecondition: The probe raised an error that has a code, or it hangs (C6).
        """
        if self._running is None or self._running.done():
            if self._runner.in_flight:
                raise FailedPrecondition("an earlier probe of the driver still hangs")
            self._running = asyncio.ensure_future(
                self._runner.run(self._driver.probe, is_async=self._is_async)
            )
        try:
            return await asyncio.shield(self._running)
        except Exception as error:
            if known := translate(error, self._driver.errors):
                raise FailedPrecondition(known.message) from None
            raise
