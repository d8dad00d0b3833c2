"""C59 to C61: InitializeMachine and addresses."""

from typing import Any, Final

from cmi.conformance.kit import Kit
from cmi.conformance.steps import interrupted_initializations
from cmi.messages import AddressType

__all__ = [
    "test_C59_an_interrupted_initialization",
    "test_C59_initialize_is_idempotent",
    "test_C59_uninitialized_only_with_initialize",
    "test_C60_absent_to_initialize",
    "test_C60_machine_name_is_needed_to_initialize",
    "test_C60_other_clusters_are_not_initialized",
    "test_C61_addresses",
]

_TIMES: Final = 3


def test_C59_initialize_is_idempotent(kit: Kit) -> None:
    """It works by name alone too, as when MCM crashes before it has stored the provider ID."""
    kit.needs("InitializeMachine")
    name, created = kit.make()
    for provider_id in ("", *[created.ProviderID] * _TIMES):
        _is_initialized(kit, name, kit.initialize(name, provider_id=provider_id).ok(), created)


def test_C59_an_interrupted_initialization(kit: Kit) -> None:
    """The status is Uninitialized until a repeated call has finished the work."""
    for each in interrupted_initializations(kit):
        if each.outcome.response is None and kit.announces("GetMachineStatus"):
            status = kit.status(each.name).ok()
            kit.check(status.Uninitialized, "GetMachineStatus does not return Uninitialized")
        repeated = kit.initialize(each.name, provider_id=each.provider_id).ok()
        _is_initialized(kit, each.name, repeated, repeated)


def test_C59_uninitialized_only_with_initialize(kit: Kit) -> None:
    """Otherwise, MCM would call InitializeMachine for ever."""
    kit.needs("GetMachineStatus")
    name, _ = kit.make()
    kit.check(
        kit.announces("InitializeMachine") or not kit.status(name).ok().Uninitialized,
        "GetMachineStatus returns Uninitialized, but the driver announces no InitializeMachine",
    )


def test_C60_absent_to_initialize(kit: Kit) -> None:
    kit.needs("InitializeMachine")
    kit.initialize(kit.name()).refused("NOT_FOUND")


def test_C60_other_clusters_are_not_initialized(kit: Kit) -> None:
    kit.needs("InitializeMachine")
    name, created = kit.make(kit.other)
    kit.initialize(name).refused("NOT_FOUND")
    kit.initialize(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C60_machine_name_is_needed_to_initialize(kit: Kit) -> None:
    kit.needs("InitializeMachine")
    request = kit.request("InitializeMachine", "")
    kit.send("InitializeMachine", request).refused("INVALID_ARGUMENT")


def test_C61_addresses(kit: Kit) -> None:
    name, created = kit.make()
    _has_addresses(kit, "CreateMachine", created)
    if kit.announces("InitializeMachine"):
        _has_addresses(kit, "InitializeMachine", kit.initialize(name).ok())
    if kit.announces("GetMachineStatus"):
        _has_addresses(kit, "GetMachineStatus", kit.status(name).ok())


def _is_initialized(kit: Kit, name: str, answer: Any, created: Any) -> None:
    for field in ("ProviderID", "NodeName"):
        old, new = getattr(created, field), getattr(answer, field)
        kit.check(old == new, f"CreateMachine returned {field} {old!r}, InitializeMachine {new!r}")
    if kit.announces("GetMachineStatus"):
        status = kit.status(name).ok()
        kit.check(not status.Uninitialized, "the status is Uninitialized after InitializeMachine")


def _has_addresses(kit: Kit, rpc: str, answer: Any) -> None:
    for each in answer.Addresses:
        kit.check(each.Type in [*AddressType], f"{rpc} returned an address of type {each.Type!r}")
        kit.check(each.Address, f"{rpc} returned an empty address of type {each.Type}")
