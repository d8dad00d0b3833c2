"""C29 to C33: ListMachines."""

from concurrent.futures import ThreadPoolExecutor

from cmi.conformance import specs
from cmi.conformance.kit import Kit
from cmi.contract import CLUSTER_TAG, ROLE_TAG

_A_FEW = 3
_CALLERS = 8


def test_C29_own_machines_only(kit: Kit) -> None:
    kit.needs("ListMachines")
    before = kit.listed()
    name, mine = kit.make()
    kit.make(kit.other)
    kit.make(specs.of_scope(kit.mine, ROLE_TAG, "-conformance"))
    new = {key: value for key, value in kit.listed().items() if key not in before}
    assert new == {mine.ProviderID: name}


def test_C30_no_empty_keys_or_values(kit: Kit) -> None:
    kit.needs("ListMachines")
    kit.make()
    assert all(provider_id and name for provider_id, name in kit.listed().items())


def test_C31_complete(kit: Kit) -> None:
    """With more machines than a page holds, where the size of a page is known."""
    kit.needs("ListMachines")
    page_size = kit.target.backstage.page_size if kit.target.backstage else None
    names = [kit.name() for _ in range((page_size or _A_FEW) + 1)]
    with ThreadPoolExecutor(_CALLERS) as pool:
        created = {outcome.ok().ProviderID for outcome in pool.map(kit.create, names)}
    assert created <= kit.listed().keys()


def test_C32_empty(kit: Kit) -> None:
    kit.needs("ListMachines")
    kit.make()
    empty = specs.of_scope(kit.mine, CLUSTER_TAG, "-conformance-empty")
    assert kit.listed(empty) == {}


def test_C33_tags_are_needed(kit: Kit) -> None:
    for what, machine_class in specs.without_scopes(kit.mine):
        outcome = kit.list_machines(machine_class)
        assert outcome.response is None, f"with {what} it lists {len(outcome.response.MachineList)}"
        outcome.refused("INVALID_ARGUMENT")
