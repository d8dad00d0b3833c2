"""How the framework inspects a driver: its capabilities, and declarations that can't work."""

# This file tests wrong signatures.
# mypy: disable-error-code="empty-body, override"

import functools
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import grpc
import pytest

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    Driver,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    SecretsModel,
    StartupError,
)
from cmi.client import Client
from cmi.serving.identity import PluginInfo
from cmi.testing import serving
from cmi.testing.serving import TEST_PLUGIN
from tests.framework.support import (
    MACHINE_RPCS,
    AsyncStandIn,
    Keys,
    Scope,
    Spec,
    StandIn,
    ask,
    created,
    machine_class,
    request,
)

ALL = [
    "CREATE_MACHINE",
    "DELETE_MACHINE",
    "GET_MACHINE_STATUS",
    "LIST_MACHINES",
    "SHUTDOWN_MACHINE",
    "GET_VOLUME_IDS",
    "INITIALIZE_MACHINE",
]


class Minimal(Driver):
    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        return created(request)

    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        return DeleteMachineResponse()


class WithoutList(StandIn):
    list_machines = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (Minimal(), ALL[:2]),
        (AsyncStandIn(), ALL[:2]),
        (StandIn(), ALL),
        (WithoutList(), [name for name in ALL if name != "LIST_MACHINES"]),
    ],
    ids=lambda item: type(item).__name__,
)
def test_the_capabilities_are_the_methods(driver: Driver, expected: list[str]) -> None:
    with serving(driver) as endpoint, Client(endpoint) as client:
        assert client.capabilities() == expected
        assert client.capabilities() == expected


@pytest.mark.parametrize("rpc", [*MACHINE_RPCS[2:], "GetVolumeIDs"])
def test_an_rpc_without_a_method_is_unimplemented(rpc: str) -> None:
    with serving(Minimal()) as endpoint:
        answer = ask(endpoint, rpc, request(rpc))
    assert answer.code == "UNIMPLEMENTED"
    assert rpc in answer.message


def test_the_plugin_says_who_it_is() -> None:
    with serving(Minimal()) as endpoint, Client(endpoint) as client:
        answer = client.info()
    assert (answer.name, answer.version) == (TEST_PLUGIN.name, TEST_PLUGIN.version)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution whose entry point names the package `acme`."""
    info = tmp_path / "mcm_provider_acme-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mcm-provider-acme\nVersion: 1.2.3\n"
    )
    (info / "entry_points.txt").write_text("[cmi.plugin]\nmcm-provider-acme.example = acme\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_name_and_version_are_those_of_the_installed_package() -> None:
    plugin = PluginInfo.of_package("acme")
    assert (plugin.name, plugin.version) == ("mcm-provider-acme.example", "1.2.3")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("package", ["acm", "acme2", "", "__main__"])
def test_a_package_that_is_not_installed_has_no_name(package: str) -> None:
    with pytest.raises(StartupError) as caught:
        PluginInfo.of_package(package)
    assert "is not installed" in str(caught.value)
    assert "\n" not in str(caught.value)


def start(driver: Driver) -> None:
    with serving(driver) as endpoint, Client(endpoint) as client:
        assert client.create(machine_class(), "m1").NodeName == "m1"


SpecT = TypeVar("SpecT")


def logged(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def alogged(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    return wrapper


class Decorated(Minimal):
    @logged
    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        return created(request)


class DecoratedAsync(Minimal):
    @alogged
    async def create_machine(
        self, request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse:
        return created(request)


class Static(Minimal):
    @staticmethod
    def create_machine(
        request: CreateMachineRequest[Spec, Keys],
    ) -> CreateMachineResponse:
        return created(request)


class OfClass(Minimal):
    @classmethod
    def create_machine(cls, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        return created(request)


class Creating:
    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        return created(request)


class Deleting:
    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        return DeleteMachineResponse()


class OfMixins(Creating, Deleting, Driver): ...


class AnnotatedSelf(Minimal):
    def create_machine(
        self: Self, request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse:
        return created(request)


class OtherName(Minimal):
    def create_machine(self, order: CreateMachineRequest[Spec, Keys], /) -> CreateMachineResponse:
        return created(order)


class ByInstance(Minimal):
    def __init__(self) -> None:
        self.create_machine = created  # type: ignore[method-assign]


class OfCallable(Minimal):
    class _Create:
        def __call__(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
            return created(request)

    create_machine = _Create()


@pytest.mark.parametrize(
    "kind",
    [
        Decorated,
        DecoratedAsync,
        Static,
        OfClass,
        OfMixins,
        AnnotatedSelf,
        OtherName,
        ByInstance,
        OfCallable,
    ],
)
def test_methods_may_be_declared_in_many_ways(kind: type[Driver]) -> None:
    start(kind())


POSTPONED = """
from __future__ import annotations

import cmi
from tests.framework.support import Keys, Scope, Spec, created


class Postponed(cmi.Driver):
    def create_machine(
        self, request: cmi.CreateMachineRequest[Spec, Keys]
    ) -> cmi.CreateMachineResponse:
        return created(request)

    def delete_machine(
        self, request: cmi.DeleteMachineRequest[Scope, Keys]
    ) -> cmi.DeleteMachineResponse:
        return cmi.DeleteMachineResponse()
"""


def postponed(source: str) -> Driver:
    module = types.ModuleType("postponed")
    exec(source, vars(module))
    driver: Driver = module.Postponed()
    return driver


def test_annotations_may_be_postponed() -> None:
    start(postponed(POSTPONED))


def test_a_postponed_annotation_that_means_nothing_is_refused() -> None:
    with pytest.raises(StartupError, match=r"create_machine.*Spek"):
        start(postponed(POSTPONED.replace("[Spec,", "[Spek,")))


class NoCreate(Driver):
    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        return DeleteMachineResponse()


class NoDelete(Driver):
    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        return created(request)


class NoAnnotation(Minimal):
    def create_machine(self, request):  # type: ignore[no-untyped-def]
        return created(request)


class NoReturn(Minimal):
    def create_machine(self, request: CreateMachineRequest[Spec, Keys]):  # type: ignore[no-untyped-def]
        return created(request)


class WrongReturn(Minimal):
    def create_machine(
        self, request: CreateMachineRequest[Spec, Keys]
    ) -> DeleteMachineResponse: ...


class OptionalReturn(Minimal):
    def create_machine(
        self, request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse | None: ...


class WrongRequest(Minimal):
    def create_machine(
        self, request: DeleteMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse: ...


class Bare(Minimal):
    def create_machine(
        self,
        request: CreateMachineRequest,  # type: ignore[type-arg]
    ) -> CreateMachineResponse: ...


class Swapped(Minimal):
    def create_machine(
        self,
        request: CreateMachineRequest[Keys, Spec],  # type: ignore[type-var]
    ) -> CreateMachineResponse: ...


class PlainModels(Minimal):
    def create_machine(
        self,
        request: CreateMachineRequest[dict[str, Any], SecretsModel],  # type: ignore[type-var]
    ) -> CreateMachineResponse: ...


class Unfilled(Minimal, Generic[SpecT]):
    def create_machine(
        self,
        request: CreateMachineRequest[SpecT, Keys],  # type: ignore[type-var]
    ) -> CreateMachineResponse: ...


class TwoParameters(Minimal):
    def create_machine(
        self, request: CreateMachineRequest[Spec, Keys], context: object
    ) -> CreateMachineResponse: ...


class NoParameter(Minimal):
    def create_machine(self) -> CreateMachineResponse: ...


class KeywordOnly(Minimal):
    def create_machine(
        self, *, request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse: ...


class Variadic(Minimal):
    def create_machine(
        self, *request: CreateMachineRequest[Spec, Keys]
    ) -> CreateMachineResponse: ...


class Servicer(Minimal):
    def create_machine(
        self, request: CreateMachineRequest[Spec, Keys], context: grpc.ServicerContext
    ) -> CreateMachineResponse: ...


class NotAMethod(Minimal):
    create_machine = 5  # type: ignore[assignment]


class AProperty(Minimal):
    @property
    def create_machine(self) -> str:
        return "x"


REFUSED: list[tuple[type[Driver], str]] = [
    (NoCreate, "has no method create_machine"),
    (NoDelete, "has no method delete_machine"),
    *(
        (kind, "CreateMachineRequest[YourSpec, YourSecrets]) -> CreateMachineResponse")
        for kind in (
            NoAnnotation,
            NoReturn,
            WrongReturn,
            OptionalReturn,
            WrongRequest,
            Bare,
            Swapped,
            PlainModels,
            Unfilled,
            TwoParameters,
            NoParameter,
            KeywordOnly,
            Variadic,
            Servicer,
            NotAMethod,
            AProperty,
        )
    ),
]


@pytest.mark.parametrize(
    ("kind", "mentioned"), REFUSED, ids=lambda item: getattr(item, "__name__", "")
)
def test_a_declaration_that_can_not_work_is_refused_before_the_start(
    kind: type[Driver], mentioned: str
) -> None:
    with pytest.raises(StartupError) as caught, serving(kind()):
        pass
    assert kind.__name__ in str(caught.value)
    assert mentioned in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_optional_method_is_checked_like_a_mandatory_one() -> None:
    class Odd(Minimal):
        def get_machine_status(
            self, request: GetMachineStatusRequest[Scope, Keys]
        ) -> Iterator[GetMachineStatusResponse]: ...

    with pytest.raises(StartupError, match=r"Odd\.get_machine_status must be declared"):
        start(Odd())
