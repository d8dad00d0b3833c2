"""C34 and C35: ShutDownMachine."""

from cmi.conformance.kit import Kit

__all__ = [
    "test_C34_other_clusters_are_not_shut_down",
    "test_C34_shut_down_is_idempotent",
    "test_C35_absent_to_shut_down",
]


def test_C34_shut_down_is_idempotent(kit: Kit) -> None:
    kit.needs("ShutDownMachine")
    name, created = kit.make()
    for provider_id in ("", created.ProviderID, created.ProviderID):
        kit.shut_down(name, provider_id=provider_id).ok()


def test_C34_other_clusters_are_not_shut_down(kit: Kit) -> None:
    kit.needs("ShutDownMachine")
    name, created = kit.make(kit.other)
    kit.shut_down(name).refused("NOT_FOUND")
    kit.shut_down(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C35_absent_to_shut_down(kit: Kit) -> None:
    kit.shut_down(kit.name()).refused("NOT_FOUND")
