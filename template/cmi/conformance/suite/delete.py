"""C17 to C22: DeleteMachine."""

import pytest

from cmi.conformance.kit import Kit
from cmi.contract import MAX_NAME_BYTES


def test_C17_absent(kit: Kit) -> None:
    kit.delete(kit.name()).ok()


def test_C18_twice(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.delete(name).ok()


def test_C19_other_clusters_are_not_touched(kit: Kit) -> None:
    """Neither by the name of its machine nor by its provider ID."""
    kit.needs("ListMachines")
    name, created = kit.make(kit.other)
    unused = kit.name()
    kit.delete(name)
    kit.delete(name, provider_id=created.ProviderID)
    kit.delete(unused, provider_id=created.ProviderID)
    there = kit.listed(kit.other)
    assert created.ProviderID in there, "the other cluster's VM was deleted"


def test_C20_by_name(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name).ok()
    assert created.ProviderID not in kit.listed()


def test_C20_by_provider_id(kit: Kit) -> None:
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    assert created.ProviderID not in kit.listed()


def test_C21_machine_name_is_needed(kit: Kit) -> None:
    kit.send("DeleteMachine", kit.request("DeleteMachine", "")).refused("INVALID_ARGUMENT")


def test_C22_status_of_a_deleted_machine(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make()
    kit.delete(name, provider_id=created.ProviderID).ok()
    kit.status(name).refused("NOT_FOUND")
    kit.status(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C22_leftovers(kit: Kit) -> None:
    snapshot = kit.backstage("what is left of a VM").snapshot
    if snapshot is None:
        pytest.skip("the backstage can't look into the cloud")
    before = snapshot()
    name, _ = kit.make()
    assert snapshot() != before
    kit.delete(name).ok()
    assert snapshot() == before


def test_C47_long_fields(kit: Kit) -> None:
    name = kit.name(length=MAX_NAME_BYTES + 1)
    kit.delete(name).refused("INVALID_ARGUMENT")
    kit.delete(kit.name(), provider_id="x" * (MAX_NAME_BYTES + 1)).refused("INVALID_ARGUMENT")
