"""C17 to C22: DeleteMachine."""

import pytest

from cmi.conformance.kit import Kit
from cmi.contract import MAX_NAME_BYTES

__all__ = [
    "test_C17_absent",
    "test_C18_twice",
    "test_C19_other_clusters_are_not_touched",
    "test_C19_strangers_are_not_touched",
    "test_C20_a_class_that_has_moved",
    "test_C20_a_renamed_vm",
    "test_C20_by_name",
    "test_C20_by_provider_id",
    "test_C20_only_the_vm_of_the_provider_id",
    "test_C21_machine_name_is_needed",
    "test_C22_leftovers",
    "test_C22_leftovers_of_a_vm_that_vanished",
    "test_C22_status_of_a_deleted_machine",
    "test_C47_long_fields_to_delete",
]

_ANOTHER_NAME = "renamed-by-conformance"


def test_C17_absent(kit: Kit) -> None:
    kit.delete(kit.name()).ok()


def test_C18_twice(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.delete(name).ok()


def test_C19_other_clusters_are_not_touched(kit: Kit) -> None:
    """Neither the machine's name nor its provider ID deletes it."""
    kit.needs("ListMachines")
    name, created = kit.make(kit.other)
    unused = kit.name()
    kit.delete(name)
    kit.delete(name, provider_id=created.ProviderID)
    kit.delete(unused, provider_id=created.ProviderID)
    there = kit.listed(kit.other)
    kit.check(created.ProviderID in there, "the VM of another cluster was deleted")


def test_C19_strangers_are_not_touched(kit: Kit) -> None:
    stranger = kit.hook(lambda it: it.stranger, "a stranger's VM")
    look = kit.hook(lambda it: it.snapshot, "the contents of the cloud")
    name = kit.name()
    with stranger(name):
        before = look()
        kit.delete(name).ok()
        kit.check(look() == before, "a VM that belongs to no cluster was changed or deleted")


def test_C20_by_name(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name).ok()
    _is_gone(kit, created.ProviderID)


def test_C20_by_provider_id(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    _is_gone(kit, created.ProviderID)


def test_C20_only_the_vm_of_the_provider_id(kit: Kit) -> None:
    """This is how MCM deletes the surplus one of two VMs."""
    kit.needs("ListMachines")
    duplicate = kit.hook(lambda it: it.duplicate, "a second VM of a machine")
    name, created = kit.make()
    duplicate(name)
    kit.delete(name, provider_id=created.ProviderID).ok()
    left = [each for each, its_name in kit.listed().items() if its_name == name]
    kit.check(created.ProviderID not in left, "the VM with the provider ID still exists")
    kit.check(left, "the machine's other VM, with another provider ID, was deleted too")


def test_C20_a_renamed_vm(kit: Kit) -> None:
    rename = kit.hook(lambda it: it.rename, "a renamed VM")
    look = kit.hook(lambda it: it.snapshot, "the contents of the cloud")
    before = look()
    name, created = kit.make()
    rename(name, _ANOTHER_NAME)
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.check(look() == before, "DeleteMachine returned OK, but the renamed VM still exists")


def test_C20_a_class_that_has_moved(kit: Kit) -> None:
    """The provider ID says where the VM is, even if the class has changed."""
    moved = kit.target.moved_class
    if moved is None:
        pytest.skip("needs a class that has moved (moved_class, --moved-class)")
    name, created = kit.make()
    if kit.announces("GetMachineStatus"):
        status = kit.status(name, moved, created.ProviderID).ok()
        kit.check(
            status.ProviderID == created.ProviderID,
            f"its status has the provider ID {status.ProviderID}, not {created.ProviderID}",
        )
    kit.delete(name, moved, created.ProviderID).ok()
    _is_gone(kit, created.ProviderID)


def test_C21_machine_name_is_needed(kit: Kit) -> None:
    kit.send("DeleteMachine", kit.request("DeleteMachine", "")).refused("INVALID_ARGUMENT")


def test_C22_status_of_a_deleted_machine(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.status(name).refused("NOT_FOUND")
    kit.status(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C22_leftovers(kit: Kit) -> None:
    look = kit.hook(lambda it: it.snapshot, "the leftovers of a VM")
    before = look()
    name, _ = kit.make()
    kit.check(look() != before, "the backstage's snapshot does not show a new machine")
    kit.delete(name).ok()
    kit.check(look() == before, f"{name} has leftovers after DeleteMachine")


def test_C22_leftovers_of_a_vm_that_vanished(kit: Kit) -> None:
    look = kit.hook(lambda it: it.snapshot, "the leftovers of a VM")
    vanish = kit.hook(lambda it: it.vanish, "a VM that vanishes")
    before = look()
    name, created = kit.make()
    vanish(name)
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.check(look() == before, f"{name}, whose VM had vanished, has leftovers after DeleteMachine")


def test_C47_long_fields_to_delete(kit: Kit) -> None:
    name = kit.name(length=MAX_NAME_BYTES + 1)
    kit.delete(name).refused("INVALID_ARGUMENT")
    kit.delete(kit.name(), provider_id="x" * (MAX_NAME_BYTES + 1)).refused("INVALID_ARGUMENT")


def _is_gone(kit: Kit, provider_id: str) -> None:
    kit.check(provider_id not in kit.listed(), f"{provider_id} is still listed")
