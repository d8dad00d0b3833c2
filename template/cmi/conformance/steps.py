"""Calls that are interrupted: each step of CreateMachine and DeleteMachine fails once."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from cmi.conformance.kit import Kit, Outcome


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A call that reached the step at which it should fail.

    Attributes:
        name: The machine.
        provider_id: Its provider ID, if it is known.
        outcome: How the call ended; OK if the driver repeated the step by itself.
        before: The contents of the cloud before the machine, if the backstage has a snapshot.
    """

    name: str
    provider_id: str
    outcome: Outcome
    before: object


def interrupted_creates(kit: Kit) -> Iterator[Interrupted]:
    """Yield a call of CreateMachine for each of its steps, each for another machine.

    While the caller examines the call, messages name the step. The test is skipped if the
    backstage has no interruptions, and fails if none of them affects CreateMachine.
    """
    return _interrupted(kit, "CreateMachine")


def interrupted_deletes(kit: Kit) -> Iterator[Interrupted]:
    """Yield the same for DeleteMachine."""
    return _interrupted(kit, "DeleteMachine")


def interrupted_initializations(kit: Kit) -> Iterator[Interrupted]:
    """Yield the same for InitializeMachine; skip the test if no interruption affects it."""
    kit.needs("InitializeMachine")
    return _interrupted(kit, "InitializeMachine")


def snapshot(kit: Kit) -> object:
    """Return the contents of the cloud, or None if the backstage has no snapshot."""
    backstage = kit.target.backstage
    return backstage.snapshot() if backstage and backstage.snapshot else None


def _interrupted(kit: Kit, rpc: str) -> Iterator[Interrupted]:
    steps = kit.hook(lambda it: it.interruptions, "an interruption")
    reached = False
    for step, interruption in steps.items():
        before = snapshot(kit)
        if rpc == "CreateMachine":
            name, provider_id = kit.name(), ""
            call = partial(kit.create, name, once=True)
        else:
            name, made = kit.make()
            provider_id = made.ProviderID
            send = kit.delete if rpc == "DeleteMachine" else kit.initialize
            call = partial(send, name, provider_id=provider_id, once=True)
        with kit.at(step):
            with interruption() as met:
                outcome = kit.patiently(call, stop=met.is_set)
            if met.is_set():
                reached = True
                yield Interrupted(name, provider_id, outcome, before)
            else:
                outcome.ok()
        kit.clean_up()
    if not reached and kit.item != "C15":
        pytest.skip(f"no interruption affects {rpc}, see C15")
    kit.check(reached, f"{rpc} reached none of the steps {', '.join(steps)}; name its own steps")
