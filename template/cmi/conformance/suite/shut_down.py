"""C34 and C35: ShutDownMachine."""

from cmi.conformance.kit import Kit


def test_C34_idempotent(kit: Kit) -> None:
    kit.needs("ShutDownMachine")
    name, created = kit.make()
    for provider_id in ("", created.ProviderID, created.ProviderID):
        kit.shut_down(name, provider_id=provider_id).ok()


def test_C34_other_clusters_are_not_touched(kit: Kit) -> None:
    kit.needs("ShutDownMachine")
    name, created = kit.make(kit.other)
    kit.shut_down(name).refused("NOT_FOUND")
    kit.shut_down(name, provider_id=created.ProviderID).refused("NOT_FOUND")


def test_C35_absent(kit: Kit) -> None:
    kit.shut_down(kit.name()).refused("NOT_FOUND")
