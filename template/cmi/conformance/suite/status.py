"""C23 to C28: GetMachineStatus."""

import pytest

from cmi.conformance.kit import Kit


def test_C23_same_as_created(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make()
    for provider_id in ("", created.ProviderID):
        status = kit.status(name, provider_id=provider_id).ok()
        assert (status.ProviderID, status.NodeName) == (created.ProviderID, created.NodeName)


def test_C24_absent(kit: Kit) -> None:
    kit.status(kit.name()).refused("NOT_FOUND")


def test_C25_several(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    duplicate = kit.backstage("a second VM of a machine").duplicate
    if duplicate is None:
        pytest.skip("the backstage can't duplicate a VM")
    name, _ = kit.make()
    duplicate(name)
    kit.status(name).refused("OUT_OF_RANGE")


def test_C26_other_clusters_are_not_seen(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    name, created = kit.make(kit.other)
    kit.status(name).refused("NOT_FOUND")
    kit.status(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C27_changes_nothing(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    snapshot = kit.backstage("whether something changes").snapshot
    if snapshot is None:
        pytest.skip("the backstage can't look into the cloud")
    name, created = kit.make()
    before = snapshot()
    kit.status(name, provider_id=created.ProviderID).ok()
    kit.status(kit.name())
    assert snapshot() == before


def test_C28_machine_name_is_needed(kit: Kit) -> None:
    kit.needs("GetMachineStatus")
    kit.send("GetMachineStatus", kit.request("GetMachineStatus", "")).refused("INVALID_ARGUMENT")
