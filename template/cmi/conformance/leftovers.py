"""Finds and deletes machines that an earlier, killed run of the kit left behind."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from cmi.client import Client, MachineClass, connect
from cmi.conformance.kit import PREFIX, Findings, Kit
from cmi.conformance.scopes import Scopes
from cmi.conformance.target import Target


@dataclass(frozen=True, slots=True)
class Leftover:
    """A machine that a run of the kit created.

    Attributes:
        machine_class: The class that it was created from.
        name: Its name.
        provider_id: Its provider ID.
    """

    machine_class: MachineClass
    name: str
    provider_id: str


def find(target: Target) -> list[Leftover]:
    """Return the machines with the kit's names, in all classes that the kit uses.

    They may belong to a run that is still in progress. If the driver has no ListMachines, none
    are found.
    """
    scopes = Scopes(target.machine_class, target.scope)
    classes = (
        target.machine_class,
        target.other_class or scopes.of_cluster(1),
        scopes.of_role(1),
        target.moved_class,
    )
    found: dict[str, Leftover] = {}
    with Client(target.endpoint, target.timeout, target.tls, insecure=target.insecure) as client:
        for machine_class in classes:
            if machine_class is None:
                continue
            try:
                listed = client.list_machines(machine_class)
            except grpc.RpcError:
                continue
            for provider_id, name in listed.items():
                if name.startswith(PREFIX):
                    found[provider_id] = Leftover(machine_class, name, provider_id)
    return list(found.values())


def delete(target: Target, leftovers: Sequence[Leftover]) -> list[str]:
    """Delete these machines; return those that could not be deleted, each with the reason."""
    with connect(target.endpoint, target.tls, insecure=target.insecure) as channel:
        kit = Kit(target, channel, "left behind", Findings())
        for each in leftovers:
            kit.take_over(each.machine_class, each.name, each.provider_id)
        kit.clean_up()
    return kit.left_behind
