"""C23 to C28: GetMachineStatus."""

from typing import Any

from cmi.conformance.kit import Kit

__all__ = [
    "test_C23_a_renamed_vm",
    "test_C23_same_as_created",
    "test_C24_absent",
    "test_C25_several",
    "test_C26_other_clusters_are_not_seen",
    "test_C26_strangers_are_not_seen",
    "test_C27_changes_nothing",
    "test_C28_machine_name_is_needed",
]

_ANOTHER_NAME = "renamed-by-conformance"


def test_C23_same_as_created(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make()
    for provider_id in ("", created.ProviderID):
        _is_as_created(kit, kit.status(name, provider_id=provider_id).ok(), created)


def test_C23_a_renamed_vm(kit: Kit) -> None:
    """The provider ID finds the VM even if people have changed its display name."""
    kit.needs("GetMachineStatus")
    rename = kit.hook(lambda it: it.rename, "a renamed VM")
    name, created = kit.make()
    rename(name, _ANOTHER_NAME)
    _is_as_created(kit, kit.status(name, provider_id=created.ProviderID).ok(), created)


def test_C24_absent(kit: Kit) -> None:
    kit.status(kit.name()).refused("NOT_FOUND")


def test_C25_several(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    duplicate = kit.hook(lambda it: it.duplicate, "a second VM of a machine")
    name, _ = kit.make()
    duplicate(name)
    kit.status(name).refused("OUT_OF_RANGE")


def test_C26_other_clusters_are_not_seen(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make(kit.other)
    kit.status(name).refused("NOT_FOUND")
    kit.status(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C26_strangers_are_not_seen(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    stranger = kit.hook(lambda it: it.stranger, "a stranger's VM")
    name = kit.name()
    with stranger(name):
        kit.status(name).refused("NOT_FOUND")


def test_C27_changes_nothing(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    look = kit.hook(lambda it: it.snapshot, "the contents of the cloud")
    name, created = kit.make()
    before = look()
    kit.status(name, provider_id=created.ProviderID).ok()
    kit.status(kit.name())
    kit.check(look() == before, "GetMachineStatus changed something in the cloud")


def test_C28_machine_name_is_needed(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    kit.send("GetMachineStatus", kit.request("GetMachineStatus", "")).refused("INVALID_ARGUMENT")


def _is_as_created(kit: Kit, status: Any, created: Any) -> None:
    for field in ("ProviderID", "NodeName"):
        old, new = getattr(created, field), getattr(status, field)
        kit.check(old == new, f"CreateMachine returned {field} {old!r}, but the status has {new!r}")
