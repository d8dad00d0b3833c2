"""C29 to C33: ListMachines."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cmi.client import MachineClass
from cmi.conformance.kit import OK, Kit
from cmi.conformance.steps import interrupted_creates, snapshot

__all__ = [
    "test_C29_a_renamed_vm",
    "test_C29_half_made_machines",
    "test_C29_leftovers",
    "test_C29_no_machines_of_other_clusters",
    "test_C29_no_machines_of_other_roles",
    "test_C29_no_strangers",
    "test_C29_own_machines",
    "test_C30_a_vm_without_a_name",
    "test_C30_no_empty_keys_or_values",
    "test_C31_complete",
    "test_C32_empty",
    "test_C33_the_scope_is_needed",
]

_A_FEW = 3
_ANOTHER_NAME = "renamed-by-conformance"


def test_C29_own_machines(kit: Kit) -> None:
    kit.needs("ListMachines")
    before = kit.listed()
    name, mine = kit.make()
    new = {key: value for key, value in kit.listed().items() if key not in before}
    kit.check(new == {mine.ProviderID: name}, f"after {name} was created, the list has {new} more")


def test_C29_no_machines_of_other_clusters(kit: Kit) -> None:
    _is_not_listed(kit, kit.other, "of another cluster")


def test_C29_no_machines_of_other_roles(kit: Kit) -> None:
    _is_not_listed(kit, kit.other_role, "of another role")


def test_C29_no_strangers(kit: Kit) -> None:
    kit.needs("ListMachines")
    stranger = kit.hook(lambda it: it.stranger, "a stranger's VM")
    name = kit.name()
    with stranger(name):
        kit.check(
            name not in kit.listed().values(),
            "a VM that belongs to no cluster is listed; MCM would delete it as an orphan",
        )


def test_C29_half_made_machines(kit: Kit) -> None:
    """A VM from an interrupted CreateMachine must be listed; otherwise, nobody deletes it."""
    kit.needs("ListMachines")
    kit.hook(lambda it: it.snapshot, "a half-made VM")
    for call in interrupted_creates(kit):
        is_there = snapshot(kit) != call.before
        if call.outcome.code is not OK and is_there:
            kit.check(
                call.name in kit.listed().values(),
                f"{call.name} is half made but not listed; MCM would never delete it",
            )


def test_C29_leftovers(kit: Kit) -> None:
    """If the Machine is gone too, nothing else leads to their deletion."""
    kit.needs("ListMachines")
    vanish = kit.hook(lambda it: it.vanish, "a VM that vanishes")
    look = kit.hook(lambda it: it.snapshot, "the leftovers of a VM")
    before = look()
    name, _ = kit.make()
    vanish(name)
    if look() == before:
        pytest.skip("the cloud deletes everything with a VM")
    ids = [each for each, its_name in kit.listed().items() if its_name == name]
    kit.check(ids, f"the leftovers of {name}, whose VM vanished, are not listed")
    kit.delete(name, provider_id=ids[0]).ok()
    kit.check(
        look() == before, f"DeleteMachine with the listed ID {ids[0]} did not delete all leftovers"
    )


def test_C29_a_renamed_vm(kit: Kit) -> None:
    """Under another name, MCM would consider it an orphan, and delete it."""
    kit.needs("ListMachines")
    rename = kit.hook(lambda it: it.rename, "a renamed VM")
    name, created = kit.make()
    rename(name, _ANOTHER_NAME)
    found = kit.listed().get(created.ProviderID)
    kit.check(
        found == name,
        f"after its VM was renamed, {name} is listed as {found}; store the machine's name where "
        "people don't edit it, in a tag",
    )


def test_C30_no_empty_keys_or_values(kit: Kit) -> None:
    kit.needs("ListMachines")
    kit.make()
    _is_without_gaps(kit, kit.listed())


def test_C30_a_vm_without_a_name(kit: Kit) -> None:
    """It may be left out. An error would keep MCM from collecting the orphans of all classes."""
    kit.needs("ListMachines")
    unname = kit.hook(lambda it: it.unname, "a VM without a name")
    unnamed, _ = kit.make()
    name, _ = kit.make()
    unname(unnamed)
    listed = kit.listed()
    _is_without_gaps(kit, listed)
    kit.check(name in listed.values(), f"{name} is not listed because another VM has no name")


def test_C31_complete(kit: Kit) -> None:
    """If the page size is known, this creates more machines than fit on a page."""
    kit.needs("ListMachines")
    page_size = kit.target.backstage.page_size if kit.target.backstage else None
    count = page_size + 1 if page_size else kit.target.max_machines or _A_FEW
    kit.needs_room(count)
    names = [kit.name() for _ in range(count)]
    with ThreadPoolExecutor(kit.target.parallel) as pool:
        created = {outcome.ok().ProviderID for outcome in pool.map(kit.create, names)}
    missing = len(created - kit.listed().keys())
    kit.check(not missing, f"{missing} of {len(created)} machines are not listed")


def test_C32_empty(kit: Kit) -> None:
    kit.needs("ListMachines")
    empty = kit.empty
    kit.make()
    listed = kit.listed(empty)
    kit.check(not listed, f"the list of a cluster without machines contains {listed}")


def test_C33_the_scope_is_needed(kit: Kit) -> None:
    classes = dict(kit.scopes.without())
    if not classes:
        pytest.skip("the kit can't find the cluster in the spec; set scope")
    for what, machine_class in classes.items():
        outcome = kit.list_machines(machine_class)
        if outcome.response is not None:
            kit.fail(f"with {what} in the spec, it lists {len(outcome.response.MachineList)} VMs")
        outcome.refused("INVALID_ARGUMENT")


def _is_not_listed(kit: Kit, machine_class: MachineClass, whose: str) -> None:
    kit.needs("ListMachines")
    name, theirs = kit.make(machine_class)
    listed = kit.listed()
    kit.check(
        theirs.ProviderID not in listed and name not in listed.values(),
        f"a machine {whose} is listed; MCM would delete it as an orphan",
    )


def _is_without_gaps(kit: Kit, listed: dict[str, str]) -> None:
    kit.check("" not in listed, "an entry in the list has no provider ID")
    kit.check("" not in listed.values(), "an entry in the list has no name")
